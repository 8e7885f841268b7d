package conformance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	enginev1 "kvasir/engine/v1"
)

const (
	page   = "../../docs/engine-api.md"
	schema = "../../node/src/main/proto/kvasir/engine/v1/engine.proto"
	// Of each test's own waiting; requests have shorter ones.
	patience = 60 * time.Second
)

var contract = sync.OnceValue(func() string {
	var all strings.Builder
	for _, path := range []string{page, schema} {
		text, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		all.WriteString(plain(string(text)))
		all.WriteString("\n")
	}
	return all.String()
})

// plain drops line ends, indentation, comment signs and emphasis, so that a sentence is one string.
func plain(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(line), "//")
	}
	joined := strings.NewReplacer("`", "", "**", "").Replace(strings.Join(lines, " "))
	return strings.Join(strings.Fields(joined), " ")
}

// says fails unless page or schema have these sentences: each test names what it holds.
func says(t *testing.T, sentences ...string) {
	t.Helper()
	for _, sentence := range sentences {
		if !strings.Contains(contract(), plain(sentence)) {
			t.Errorf("docs/engine-api.md and engine.proto no longer say: %s", sentence)
		}
		t.Logf("holds: %s", sentence)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("KVASIR_SOCKET") == "" {
		fmt.Fprintln(os.Stderr, "KVASIR_SOCKET must name the socket of a node that runs; README.md says how")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func socket() string { return os.Getenv("KVASIR_SOCKET") }

func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// whole is the shard of an engine whose chunk is one object.
func whole() *enginev1.Shard { return &enginev1.Shard{LayerEnd: 1, HeadEnd: 1, PpSize: 1, CpSize: 1} }

// halves are two tensor-parallel ranks' shards.
func halves() []*enginev1.Shard {
	one, two := whole(), whole()
	two.HeadBegin, two.HeadEnd = 1, 2
	return []*enginev1.Shard{one, two}
}

func session(shards ...*enginev1.Shard) *enginev1.CreateSession {
	if len(shards) == 0 {
		shards = []*enginev1.Shard{whole()}
	}
	return &enginev1.CreateSession{Name: "conformance", Shards: shards}
}

func namespace() *enginev1.Namespace {
	return &enginev1.Namespace{Model: "conformance", ChunkTokens: 256, Layout: "opaque"}
}

func greeted(t *testing.T) *Attachment {
	t.Helper()
	attachment, err := Greet(background(t), socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(attachment.Close)
	return attachment
}

// attached has created a session, and opened namespace() as the returned handle.
func attached(t *testing.T, create *enginev1.CreateSession, quiesced ...uint64) (*Attachment, uint32) {
	t.Helper()
	attachment := greeted(t)
	ok(t, attachment.Create(background(t), create, quiesced...))
	handle, _, err := attachment.Namespace(background(t), namespace())
	ok(t, err)
	return attachment, handle
}

// keys returns n keys that nobody used before.
func keys(n int) []byte {
	packed := make([]byte, 32*n)
	rand.Read(packed)
	return packed
}

// bytesOf makes an object's bytes from its key, so that another process knows them too: SHA-256 of the key and a
// counter (u64, little-endian), one after the other.
func bytesOf(key []byte, length int) []byte {
	var object []byte
	for counter := uint64(0); len(object) < length; counter++ {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64(append([]byte{}, key...), counter))
		object = append(object, sum[:]...)
	}
	return object[:length]
}

func objectsOf(packed []byte, length int) [][]byte {
	objects := make([][]byte, len(packed)/32)
	for i := range objects {
		objects[i] = bytesOf(packed[32*i:32*i+32], length)
	}
	return objects
}

// stored stores n new chunks of one shard and returns their keys.
func stored(t *testing.T, attachment *Attachment, handle, shard uint32, n, length int) []byte {
	t.Helper()
	packed := keys(n)
	ok(t, attachment.Store(background(t), handle, shard, packed, objectsOf(packed, length), true))
	return packed
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect[T comparable](t *testing.T, what string, want, have T) {
	t.Helper()
	if want != have {
		t.Fatalf("%s: %v instead of %v", what, have, want)
	}
}

func refused(t *testing.T, want enginev1.Error_Code, err error) {
	t.Helper()
	if CodeOf(err) != want {
		t.Fatalf("%v instead of %v", err, want)
	}
}

// until polls.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

func statuses(records []Record) []enginev1.SlotStatus {
	found := make([]enginev1.SlotStatus, len(records))
	for i, record := range records {
		found[i] = record.Status
	}
	return found
}

// The calls, wrapped.

func pingRequest() *enginev1.Request {
	return &enginev1.Request{Call: &enginev1.Request_Ping{Ping: &enginev1.Ping{Payload: []byte("x")}}}
}

func lookupRequest(lookup *enginev1.Lookup) *enginev1.Request {
	return &enginev1.Request{Call: &enginev1.Request_Lookup{Lookup: lookup}}
}

func eventsRequest(events *enginev1.Events) *enginev1.Request {
	return &enginev1.Request{Call: &enginev1.Request_Events{Events: events}}
}

func reserveRequest(reserve *enginev1.Reserve) *enginev1.Request {
	return &enginev1.Request{Call: &enginev1.Request_Reserve{Reserve: reserve}}
}

func commitRequest(commit *enginev1.Commit) *enginev1.Request {
	return &enginev1.Request{Call: &enginev1.Request_Commit{Commit: commit}}
}

func namespaceRequest(namespace *enginev1.Namespace) *enginev1.Request {
	return &enginev1.Request{Call: &enginev1.Request_OpenNamespace{
		OpenNamespace: &enginev1.OpenNamespace{Namespace: namespace}}}
}
