package conformance

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	enginev1 "kvasir/engine/v1"
)

// What one client stored, and the other has to load: kvasir_ops/checks/conformance.py writes and reads the same.
type traded struct {
	// n x 32 bytes, in base64; bytesOf says what each holds.
	Keys []byte `json:"keys"`
	// Bytes of the objects.
	Lengths []int `json:"lengths"`
}

// The namespace in which both clients store, as awkward as it may be.
func shared() *enginev1.Namespace {
	return &enginev1.Namespace{
		Model: "modèle", WeightsDigest: []byte{0, 255}, HashAlgorithm: "sha256", HashSeed: "7", KvDtype: "bf16",
		Layout: "opaque", ChunkTokens: 256, Lora: "", Generation: 1<<63 + 1,
		Extra: map[string]string{"b": "2", "a": "", "é": "3"},
	}
}

// KVASIR_OTHER names a folder: python.json is what the Python client stored, go.json what it has to load afterwards.
func TestOtherLanguage(t *testing.T) {
	folder := os.Getenv("KVASIR_OTHER")
	if folder == "" {
		t.Skip("KVASIR_OTHER names no folder with what another client stored")
	}
	says(t, "An engine whose chunk is one object sends what the middle column says, whatever its layers and heads are; so "+
		"does the Python client when it is told nothing.")
	attachment := greeted(t)
	ok(t, attachment.Create(background(t), session()))
	handle, _, err := attachment.Namespace(background(t), shared())
	ok(t, err)
	t.Run("loads what the other stored", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(folder, "python.json"))
		ok(t, err)
		var theirs traded
		ok(t, json.Unmarshal(text, &theirs))
		found, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: theirs.Keys})
		ok(t, err)
		expect(t, "hits", len(theirs.Lengths), int(found.HitChunks))
		for i, record := range found.Records {
			object, err := attachment.Load(found, record, true)
			ok(t, err)
			if !bytes.Equal(bytesOf(theirs.Keys[32*i:32*i+32], theirs.Lengths[i]), object) {
				t.Fatalf("object %d has other bytes", i)
			}
		}
	})
	t.Run("stores what the other will load", func(t *testing.T) {
		ours := traded{Keys: keys(4), Lengths: []int{1, 4097, 100_000, 1 << 20}}
		var objects [][]byte
		for i, length := range ours.Lengths {
			objects = append(objects, bytesOf(ours.Keys[32*i:32*i+32], length))
		}
		ok(t, attachment.Store(background(t), handle, 0, ours.Keys, objects, true))
		text, err := json.Marshal(ours)
		ok(t, err)
		ok(t, os.WriteFile(filepath.Join(folder, "go.json"), text, 0o600))
	})
}
