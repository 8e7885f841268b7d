package conformance

import (
	"bytes"
	"encoding/binary"
	"testing"

	"google.golang.org/protobuf/proto"

	enginev1 "kvasir/engine/v1"
)

func TestFramesThatEndTheConnection(t *testing.T) {
	says(t,
		"A longer frame, an empty one, or one that cannot be decoded, is answered with an `Error` of id 0 where that is "+
			"possible, and ends the connection.",
		"An id that is 0, or that of a request that still waits, ends the connection in the same way.")
	for _, row := range []struct {
		name string
		send func(attachment *Attachment) error
	}{
		{"longer than the limit", func(a *Attachment) error {
			return a.WriteRaw(binary.LittleEndian.AppendUint32(nil, a.Hello.MaxFrameBytes+1))
		}},
		{"empty", func(a *Attachment) error { return a.WriteFrame(nil) }},
		{"no request", func(a *Attachment) error { return a.WriteFrame(bytes.Repeat([]byte{0xff}, 100)) }},
		{"id 0", func(a *Attachment) error {
			body, _ := proto.Marshal(pingRequest())
			return a.WriteFrame(body)
		}},
		{"id that waits", func(a *Attachment) error {
			waits := eventsRequest(&enginev1.Events{After: lastEvent(t, a), WaitMs: 50_000})
			waits.DeadlineMs = 55_000
			waits.Id = 1 << 40
			body, _ := proto.Marshal(waits)
			if err := a.WriteFrame(body); err != nil {
				return err
			}
			ping := pingRequest()
			ping.Id = 1 << 40
			body, _ = proto.Marshal(ping)
			return a.WriteFrame(body)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			attachment := greeted(t)
			ok(t, row.send(attachment))
			refused(t, enginev1.Error_INVALID_ARGUMENT, attachment.Failure())
		})
	}
}

func TestFrameAsLongAsTheLimitIsAnswered(t *testing.T) {
	says(t, "`HelloResult.max_frame_bytes` limits both directions")
	attachment := greeted(t)
	ping := pingRequest()
	payload := make([]byte, attachment.Hello.MaxFrameBytes-64)
	ping.GetPing().Payload = payload
	answer, err := attachment.Call(background(t), ping)
	ok(t, err)
	expect(t, "bytes", len(payload), len(answer.GetPing().Payload))
}

func TestRequestsTakeEffectInTheirOrder(t *testing.T) {
	says(t,
		"The requests of a connection take effect in the order in which they were sent: a `Lookup` sent behind a `Commit`, "+
			"without waiting for its answer, finds the objects.")
	attachment, handle := attached(t, session())
	for range 20 {
		packed := keys(8)
		records, err := attachment.Reserve(background(t),
			&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1000}})
		ok(t, err)
		_, committed, err := attachment.Send(
			commitRequest(&enginev1.Commit{Slots: pack(records, enginev1.SlotStatus_SLOT_GRANTED)}))
		ok(t, err)
		found, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
		ok(t, err)
		expect(t, "hits", 8, found.HitChunks)
		expect(t, "statuses", 8, len((<-committed).GetCommit().GetStatuses()))
	}
}

func TestRequestThatWaitsDelaysNobody(t *testing.T) {
	says(t,
		"Answers come in any order; `id` says whose they are.",
		"A request that waits (`wait_ms`) does not delay those behind it.",
		"Ends a request of this connection that is held; its answer is CANCELLED.",
		"`CANCELLED` | a miss; this end sent `Cancel`")
	attachment := greeted(t)
	waits := eventsRequest(&enginev1.Events{After: lastEvent(t, attachment), WaitMs: 50_000})
	waits.DeadlineMs = 55_000
	id, held, err := attachment.Send(waits)
	ok(t, err)
	_, err = attachment.Call(background(t), pingRequest())
	ok(t, err)
	answer, err := attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Cancel{
		Cancel: &enginev1.Cancel{Request: id}}})
	ok(t, err)
	expect(t, "cancelled", true, answer.GetCancel().Cancelled)
	_, err = attachment.Await(background(t), id, held)
	refused(t, enginev1.Error_CANCELLED, err)
}

func TestWaitsEndWithTheBudget(t *testing.T) {
	says(t,
		"A request that waits is answered before it ends, with what there is then: `Lookup` says `PENDING`, `Reserve` "+
			"`SLOT_NO_ROOM`, `Events` nothing.",
		"A `wait_ms` that is longer than the budget is no error.",
		"pending_chunks`, those after them that will be hits too once what is on its way is there (ask again, or let "+
			"`wait_ms` hold the answer): the first of them is on its way, and later ones may be in DRAM already")
	attachment, handle := attached(t, session())
	first := stored(t, attachment, handle, 0, 1, 1000)
	second := keys(1)
	_, err := attachment.Reserve(background(t),
		&enginev1.Reserve{Namespace: handle, Keys: second, Lengths: []uint64{1000}})
	ok(t, err)
	third := stored(t, attachment, handle, 0, 1, 1000)

	waits := lookupRequest(&enginev1.Lookup{
		Namespace: handle, Keys: bytes.Join([][]byte{first, second, third}, nil), WaitMs: 50_000})
	waits.DeadlineMs = 100
	answer, err := attachment.Call(background(t), waits)
	ok(t, err)
	expect(t, "hits", 1, answer.GetLookup().HitChunks)
	expect(t, "pending", 2, answer.GetLookup().PendingChunks)

	waits = eventsRequest(&enginev1.Events{After: lastEvent(t, attachment), WaitMs: 50_000})
	waits.DeadlineMs = 100
	answer, err = attachment.Call(background(t), waits)
	ok(t, err)
	expect(t, "events", 0, len(answer.GetEvents().Events))
}

func TestLateAnswersAreGivenBack(t *testing.T) {
	says(t,
		"An answer that arrives after its request was given up may have granted something.",
		"`Abort` the `SLOT_GRANTED` records of a late `ReserveResult`.")
	attachment, handle := attached(t, session())
	other, otherHandle := attached(t, session())
	packed := keys(1)
	request := reserveRequest(&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1000}})
	request.Id = 1 << 40 // Nobody waits for it.
	body, err := proto.Marshal(request)
	ok(t, err)
	ok(t, attachment.WriteFrame(body))
	_, err = attachment.Call(background(t), pingRequest()) // By now it was granted.
	ok(t, err)
	until(t, "the slot is given back", func() bool {
		records, err := other.Reserve(background(t),
			&enginev1.Reserve{Namespace: otherHandle, Keys: packed, Lengths: []uint64{1000}})
		ok(t, err)
		return records[0].Status == enginev1.SlotStatus_SLOT_GRANTED
	})
}

func TestEveryAnswerHasTheIncarnation(t *testing.T) {
	says(t, "Every `Response` has the node's `incarnation`.", "16 bytes drawn at random at the node's start.")
	one, two := greeted(t), greeted(t)
	if len(one.Incarnation()) != 16 || !bytes.Equal(one.Incarnation(), two.Incarnation()) {
		t.Fatalf("%x and %x", one.Incarnation(), two.Incarnation())
	}
}
