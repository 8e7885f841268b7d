package conformance

import (
	"bytes"
	"testing"

	enginev1 "kvasir/engine/v1"
)

func events(t *testing.T, attachment *Attachment, after uint64) *enginev1.EventsResult {
	t.Helper()
	answer, err := attachment.Call(background(t), eventsRequest(&enginev1.Events{After: after}))
	ok(t, err)
	return answer.GetEvents()
}

// lastEvent is the number of the newest event now.
func lastEvent(t *testing.T, attachment *Attachment) uint64 {
	t.Helper()
	last := uint64(0)
	for {
		batch := events(t, attachment, last)
		if len(batch.Events) == 0 {
			return last
		}
		last = batch.Events[len(batch.Events)-1].Sequence
	}
}

func TestEvents(t *testing.T) {
	says(t,
		"stored in and removed from which tier, numbered from 1 without gaps within one `incarnation`.",
		"Name of the node to whose tiers all of this happened",
		"How long the node may hold the answer while there is nothing new.")
	attachment, handle := attached(t, session())
	last := lastEvent(t, attachment)
	waits := eventsRequest(&enginev1.Events{After: last, WaitMs: 10 * 60_000})
	waits.DeadlineMs = 10 * 60_000
	id, held, err := attachment.Send(waits)
	ok(t, err)
	packed := stored(t, attachment, handle, 0, 1, 1000)
	answer, err := attachment.Await(background(t), id, held)
	ok(t, err)
	batch := answer.GetEvents()
	expect(t, "node", attachment.Hello.Node, batch.Node)
	expect(t, "lost", 0, batch.Lost)
	wanted := NamespaceID(attachment.Hello.Tenant, namespace())
	for next, isTold := last+1, false; !isTold; batch = events(t, attachment, next-1) {
		for _, event := range batch.Events {
			expect(t, "number", next, event.Sequence)
			next++
			isTold = isTold || event.Kind == enginev1.Event_STORED && event.Tier == enginev1.Tier_TIER_DRAM &&
				bytes.Equal(event.Key, packed) && bytes.Equal(event.Namespace, wanted[:]) && event.Shard.LayerEnd == 1
		}
	}
}

func TestNumberThatThisIncarnationNeverGave(t *testing.T) {
	says(t,
		"An `after` beyond the last event starts at the oldest one too, with `lost` above 0",
		"A number that this incarnation has not given starts there too, with `lost`")
	attachment, handle := attached(t, session())
	stored(t, attachment, handle, 0, 1, 1000)
	last := lastEvent(t, attachment)
	batch := events(t, attachment, last+1000)
	if batch.Lost == 0 || len(batch.Events) == 0 || batch.Events[0].Sequence > last {
		t.Fatalf("lost %d, %d events", batch.Lost, len(batch.Events))
	}
}
