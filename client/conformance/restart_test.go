package conformance

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"

	enginev1 "kvasir/engine/v1"
)

// Kills the node with a command, KVASIR_RESTART, that returns once it answers again.
func TestRestartOfTheNode(t *testing.T) {
	command := os.Getenv("KVASIR_RESTART")
	if command == "" {
		t.Skip("KVASIR_RESTART names no command that kills the node and starts it again")
	}
	says(t,
		"After a restart of the node the old session is gone: create another one, and hand its secret to the workers. Committed "+
			"objects are still there.",
		"16 bytes drawn at random at the node's start. Whatever was named under another one is void.",
		"A lease that ended, or was given under another incarnation.",
		"Put an id there only when that is true",
		"An `after` beyond the last event starts at the oldest one too, with `lost` above 0")
	old, handle := attached(t, session())
	packed := stored(t, old, handle, 0, 3, 100_000)
	found, err := old.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	open := keys(1)
	reserved, err := old.Reserve(background(t),
		&enginev1.Reserve{Namespace: handle, Keys: open, Lengths: []uint64{1000}})
	ok(t, err)
	expect(t, "reserve", granted, reserved[0].Status)
	last := lastEvent(t, old)

	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	output, err := exec.CommandContext(ctx, "sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, output)
	}
	select {
	case <-old.Ended():
	case <-ctx.Done():
		t.Fatal("the old connection did not end")
	}
	joining := greeted(t)
	if bytes.Equal(joining.Incarnation(), old.Incarnation()) {
		t.Fatal("the same incarnation")
	}
	refused(t, enginev1.Error_UNKNOWN_SESSION,
		joining.Join(background(t), old.Session.Session, old.Session.Secret))

	old.Close()
	fresh, handle := attached(t, session(), old.Hello.Attachment)
	_, err = fresh.Resolve(background(t), found.Lease)
	refused(t, enginev1.Error_UNKNOWN_LEASE, err)
	committed, err := fresh.Commit(background(t), &enginev1.Commit{Slots: reserved[0].Packed})
	ok(t, err)
	expect(t, "an old record", notReserved, enginev1.SlotStatus(committed[0]))
	batch := events(t, fresh, last+1_000_000)
	expect(t, "events are lost", true, batch.Lost > 0)
	until(t, "what was stored is found", func() bool {
		waits := lookupRequest(&enginev1.Lookup{Namespace: handle, Keys: packed, WaitMs: 1000})
		answer, err := fresh.Call(background(t), waits)
		ok(t, err)
		return answer.GetLookup().HitChunks == 3
	})
	again, err := fresh.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	for i, record := range again.Records {
		object, err := fresh.Load(again, record, true)
		ok(t, err)
		if !bytes.Equal(bytesOf(packed[32*i:32*i+32], 100_000), object) {
			t.Fatalf("object %d has other bytes", i)
		}
	}
	until(t, "the slot that was reserved is free", func() bool {
		records, err := fresh.Reserve(background(t),
			&enginev1.Reserve{Namespace: handle, Keys: open, Lengths: []uint64{1000}})
		ok(t, err)
		return records[0].Status == granted
	})
}
