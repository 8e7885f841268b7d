package conformance

import (
	"bytes"
	"encoding/binary"
	"testing"

	enginev1 "kvasir/engine/v1"
)

const (
	granted     = enginev1.SlotStatus_SLOT_GRANTED
	exists      = enginev1.SlotStatus_SLOT_EXISTS
	inFlight    = enginev1.SlotStatus_SLOT_IN_FLIGHT
	noRoom      = enginev1.SlotStatus_SLOT_NO_ROOM
	quota       = enginev1.SlotStatus_SLOT_QUOTA
	committed   = enginev1.SlotStatus_SLOT_COMMITTED
	aborted     = enginev1.SlotStatus_SLOT_ABORTED
	notReserved = enginev1.SlotStatus_SLOT_NOT_RESERVED
	hit         = enginev1.SlotStatus_SLOT_HIT
	miss        = enginev1.SlotStatus_SLOT_MISS
	notNeeded   = enginev1.SlotStatus_SLOT_NOT_NEEDED
)

func TestStoreAndLoad(t *testing.T) {
	says(t,
		"`SLOT_GRANTED` records name slots to write to",
		"Each becomes readable in one step.",
		"compare CRC32C of the whole object with the checksum word, read between 2 and 4, if its bit 63 is set.",
		"Without `crc32c` the node sums the bytes soon after the commit",
		"the payload is at `slot * slot_bytes` in the data file",
		"that of the ASCII bytes `123456789` is 0xe3069283")
	expect(t, "CRC32C", 0xe3069283, CRC32C([]byte("123456789")))
	for _, row := range []struct {
		name    string
		sum     bool
		lengths []int
	}{
		{"with sums", true, []int{1, 4095, 4096, 100_000, 1 << 20}},
		{"without sums", false, []int{1, 4095, 4096, 100_000, 1 << 20}},
	} {
		t.Run(row.name, func(t *testing.T) {
			writer, handle := attached(t, session())
			packed := keys(len(row.lengths))
			var objects [][]byte
			for i, length := range row.lengths {
				objects = append(objects, bytesOf(packed[32*i:32*i+32], length))
			}
			ok(t, writer.Store(background(t), handle, 0, packed, objects, row.sum))
			reader, handle := attached(t, session())
			found, err := reader.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
			ok(t, err)
			expect(t, "hits", len(objects), int(found.HitChunks))
			for i, record := range found.Records {
				expect(t, "length", uint64(row.lengths[i]), record.Length)
				mapping, err := reader.Mapping(record.Region)
				ok(t, err)
				until(t, "the sum is there", func() bool {
					_, known := mapping.SumOf(record.Slot)
					return known
				})
				object, err := reader.Load(found, record, true)
				ok(t, err)
				if !bytes.Equal(objects[i], object) {
					t.Fatalf("object %d has other bytes", i)
				}
			}
		})
	}
}

func TestWrongSumIsAMissWhenVerified(t *testing.T) {
	says(t, "with it, it is the engine's word that counts, so sum the bytes that were meant.")
	attachment, handle := attached(t, session())
	packed := keys(1)
	records, err := attachment.Reserve(background(t),
		&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1000}})
	ok(t, err)
	mapping, err := attachment.Mapping(records[0].Region)
	ok(t, err)
	ok(t, mapping.CopyIn(records[0], bytesOf(packed, 1000)))
	_, err = attachment.Commit(background(t),
		&enginev1.Commit{Slots: records[0].Packed, Crc32C: binary.LittleEndian.AppendUint32(nil, 7)})
	ok(t, err)
	found, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	expect(t, "hits", 1, found.HitChunks)
	object, err := attachment.Load(found, found.Records[0], true)
	ok(t, err)
	expect(t, "bytes", 0, len(object))
}

func TestStatusesOfStores(t *testing.T) {
	says(t,
		"`SLOT_EXISTS`, `SLOT_IN_FLIGHT`, `SLOT_NO_ROOM` and `SLOT_QUOTA` say why there is none, and need nothing further.",
		"`SLOT_NOT_RESERVED` means that the slot was not this attachment's any more: the object was not stored.",
		"Commit or Abort of a slot that this attachment has not reserved under this stamp (never reserved, committed already, "+
			"aborted, or given to somebody else).",
		"Records go back to the node unchanged in `Commit` and `Abort`.")
	writer, handle := attached(t, session())
	other, otherHandle := attached(t, session())
	packed := keys(1)
	reserve := func(attachment *Attachment, handle uint32) Record {
		records, err := attachment.Reserve(background(t),
			&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1000}})
		ok(t, err)
		return records[0]
	}
	commit := func(attachment *Attachment, record Record) enginev1.SlotStatus {
		found, err := attachment.Commit(background(t), &enginev1.Commit{Slots: record.Packed})
		ok(t, err)
		return enginev1.SlotStatus(found[0])
	}
	abort := func(attachment *Attachment, record Record) enginev1.SlotStatus {
		answer, err := attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Abort{
			Abort: &enginev1.Abort{Slots: record.Packed}}})
		ok(t, err)
		return enginev1.SlotStatus(answer.GetAbort().Statuses[0])
	}
	first := reserve(writer, handle)
	expect(t, "reserve", granted, first.Status)
	expect(t, "another's reserve", inFlight, reserve(other, otherHandle).Status)
	expect(t, "another's commit", notReserved, commit(other, first))
	expect(t, "another's abort", notReserved, abort(other, first))
	expect(t, "abort", aborted, abort(writer, first))
	expect(t, "commit after abort", notReserved, commit(writer, first))
	second := reserve(writer, handle)
	expect(t, "reserve again", granted, second.Status)
	expect(t, "commit", committed, commit(writer, second))
	expect(t, "commit again", notReserved, commit(writer, second))
	expect(t, "abort after commit", notReserved, abort(writer, second))
	expect(t, "reserve of what is there", exists, reserve(other, otherHandle).Status)
	wild := append([]byte{}, second.Packed...)
	binary.LittleEndian.PutUint32(wild[4:], 1<<31)
	expect(t, "a region that is none", notReserved, commit(writer, Record{Packed: wild}))
}

func TestObjectLongerThanAnySlot(t *testing.T) {
	says(t, "an object that is longer than any slot that the tenant can have is `SLOT_NO_ROOM` at once.")
	attachment, handle := attached(t, session())
	request := reserveRequest(&enginev1.Reserve{
		Namespace: handle, Keys: keys(2), Lengths: []uint64{1 << 30, 1000}, WaitMs: 10 * 60_000})
	request.DeadlineMs = 10 * 60_000
	answer, err := attachment.Call(background(t), request)
	ok(t, err)
	records, err := Records(answer.GetReserve().Slots)
	ok(t, err)
	expect(t, "longer", noRoom, records[0].Status)
	expect(t, "short", granted, records[1].Status)
}

func TestFullDRAM(t *testing.T) {
	says(t,
		"While there is no space the answer waits for `wait_ms`, or for `engine.default_deadline` when that is 0",
		"what this attachment may have reserved or quarantined (`reserve.quota`) is used up.",
		"`reserve.quota`: a quarter of DRAM | `SLOT_QUOTA`")
	full := false
	quotas := 0
	for range 64 {
		attachment, handle := attached(t, session())
		request := reserveRequest(&enginev1.Reserve{
			Namespace: handle, Keys: keys(1024), Lengths: []uint64{1 << 20}, WaitMs: 50_000})
		request.DeadlineMs = 500
		answer, err := attachment.Call(background(t), request)
		ok(t, err)
		records, err := Records(answer.GetReserve().Slots)
		ok(t, err)
		defer attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Abort{
			Abort: &enginev1.Abort{Slots: pack(records, granted)}}})
		if len(pack(records, quota)) > 0 {
			quotas++
		}
		if full = len(pack(records, noRoom)) > 0; full {
			break
		}
	}
	expect(t, "no space at the end of the budget", true, full)
	expect(t, "an attachment comes to its quota", true, quotas > 0)
}

func TestPins(t *testing.T) {
	says(t, "Keeps objects from being evicted, for a time.", "`Pin.ttl_ms` | at least 1 | `INVALID_ARGUMENT`")
	attachment, handle := attached(t, session())
	packed := append(stored(t, attachment, handle, 0, 2, 1000), keys(1)...)
	pin := func(ttl uint64) (*enginev1.PinResult, error) {
		answer, err := attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Pin{
			Pin: &enginev1.Pin{Namespace: handle, Keys: packed, TtlMs: ttl}}})
		return answer.GetPin(), err
	}
	_, err := pin(0)
	refused(t, enginev1.Error_INVALID_ARGUMENT, err)
	result, err := pin(60_000)
	ok(t, err)
	expect(t, "pinned", 2, result.Pinned)
	expect(t, "missing", 1, result.Missing)
	answer, err := attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Unpin{
		Unpin: &enginev1.Unpin{Namespace: handle, Keys: packed}}})
	ok(t, err)
	expect(t, "unpinned", 2, answer.GetUnpin().Unpinned)
}
