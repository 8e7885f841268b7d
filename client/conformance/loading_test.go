package conformance

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	enginev1 "kvasir/engine/v1"
)

func TestPrefixEndsAtTheFirstMiss(t *testing.T) {
	says(t,
		"The answer has `hit_chunks`, the leading chunks that are in DRAM, verified and leased",
		"With `sparse` every key is looked at on its own, and the records cover all keys; a sparse `Lookup` that names shards looks at "+
			"those alone.",
		"Where the chunks come from, in order, without gaps.",
		"`SLOT_NOT_NEEDED` for what the lease does not hold: misses of a sparse `Lookup`")
	attachment, handle := attached(t, session())
	packed := stored(t, attachment, handle, 0, 5, 1000)
	packed = slices.Concat(packed[:96], keys(1), packed[96:])
	found, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	expect(t, "hits", 3, found.HitChunks)
	expect(t, "records", 3, len(found.Records))
	if found.Lease == 0 || found.LeaseMs == 0 {
		t.Fatalf("lease %d of %d ms", found.Lease, found.LeaseMs)
	}
	next := uint32(0)
	for _, part := range found.Plan {
		expect(t, "first chunk of a range", next, part.FirstChunk)
		next += part.Chunks
	}
	expect(t, "chunks in the plan", 6, next)
	expect(t, "tier", enginev1.Tier_TIER_DRAM, found.Plan[0].Tier)

	sparse, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed, Sparse: true})
	ok(t, err)
	expect(t, "hits", 5, sparse.HitChunks)
	want := []enginev1.SlotStatus{hit, hit, hit, miss, hit, hit}
	if have := statuses(sparse.Records); !slices.Equal(have, want) {
		t.Fatalf("%v instead of %v", have, want)
	}
	resolved, err := attachment.Resolve(background(t), sparse.Lease)
	ok(t, err)
	want[3] = notNeeded
	if have := statuses(resolved.Records); !slices.Equal(have, want) {
		t.Fatalf("%v instead of %v", have, want)
	}
}

func TestPeekLeasesNothing(t *testing.T) {
	says(t,
		"With `peek` nothing is leased: its records may say `SLOT_HIT` and name slots, but nothing may be copied from them.",
		"0 when nothing was leased.")
	attachment, handle := attached(t, session())
	packed := stored(t, attachment, handle, 0, 1, 1000)
	found, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed, Peek: true})
	ok(t, err)
	expect(t, "hits", 1, found.HitChunks)
	expect(t, "lease", 0, found.Lease)
	object, err := attachment.Load(found, found.Records[0], true)
	ok(t, err)
	expect(t, "bytes", 0, len(object))
}

func TestWorkersLoadUnderTheSchedulersLease(t *testing.T) {
	says(t,
		"each worker says `Resolve` with its shards, loads, and says `Release` with its shards.",
		"`Resolve` answers all chunks of the lease, in the order of its `shards`",
		"the records of the shards that were asked for, in the order in which they were asked for.",
		"and shards that were given back.",
		"The lease ends when all its shards are given back.",
		"`released` counts the named leases that the session still had, also one whose time is over, or one of whose shards was "+
			"given back before; a lease that has ended is not counted.",
		"`UNKNOWN_LEASE` | look up again")
	scheduler, handle := attached(t, session(halves()...))
	packed := keys(3)
	left, right := objectsOf(packed, 1000), objectsOf(packed, 2000)
	ok(t, scheduler.Store(background(t), handle, 0, packed, left, true))
	found, err := scheduler.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	expect(t, "hits with one of two shards", 0, found.HitChunks)
	ok(t, scheduler.Store(background(t), handle, 1, packed, right, false))
	found, err = scheduler.Lookup(background(t),
		&enginev1.Lookup{Namespace: handle, Keys: packed, Shards: []uint32{1, 0}})
	ok(t, err)
	expect(t, "hits", 3, found.HitChunks)
	for i, record := range found.Records {
		expect(t, "length in the order that was asked for", uint64([]int{2000, 1000}[i%2]), record.Length)
	}

	worker := greeted(t)
	ok(t, worker.Join(background(t), scheduler.Session.Session, scheduler.Session.Secret))
	mine, err := worker.Resolve(background(t), found.Lease, 1)
	ok(t, err)
	if mine.LeaseMs == 0 || mine.LeaseMs > found.LeaseMs {
		t.Fatalf("%d ms are left of %d", mine.LeaseMs, found.LeaseMs)
	}
	for i, record := range mine.Records {
		object, err := worker.Load(mine, record, true)
		ok(t, err)
		if !bytes.Equal(right[i], object) {
			t.Fatalf("chunk %d has other bytes", i)
		}
	}
	for _, row := range []struct {
		name   string
		shards []uint32
		want   uint32
	}{{"one shard", []uint32{1}, 1}, {"it again", []uint32{1}, 1}, {"the other", []uint32{0}, 1}, {"it is over", nil, 0}} {
		released, err := worker.Release(background(t), found.Lease, row.shards...)
		ok(t, err)
		expect(t, row.name, row.want, released)
		if row.name == "it again" {
			rest, err := scheduler.Resolve(background(t), found.Lease, 1, 0)
			ok(t, err)
			expect(t, "given back", notNeeded, rest.Records[0].Status)
			expect(t, "not given back", hit, rest.Records[1].Status)
		}
	}
	_, err = worker.Resolve(background(t), found.Lease)
	refused(t, enginev1.Error_UNKNOWN_LEASE, err)
}

func TestExpiredLeaseEndsWhenNoCopyRuns(t *testing.T) {
	says(t,
		"At first the process stores 1 in `oldest`, and then in `next`.",
		"A lease ends once its time is over and every process that was in the session then has an `oldest` that is at least its "+
			"`next` of some time after the lease's end, or has lost its lock.",
		"a lease that has ended is not counted.")
	copying, handle := attached(t, session())
	idle, other := attached(t, session())
	packed := stored(t, copying, handle, 0, 1, 1000)
	mark, err := copying.BeginCopy()
	ok(t, err)
	kept, err := copying.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed, LeaseMs: 1})
	ok(t, err)
	second, err := copying.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed, LeaseMs: 1})
	ok(t, err)
	ended := func() uint32 {
		// A new lease each time, of which the time is over when it is released.
		lease, err := idle.Lookup(background(t), &enginev1.Lookup{Namespace: other, Keys: packed, LeaseMs: 1})
		ok(t, err)
		expect(t, "hits", 1, lease.HitChunks)
		time.Sleep(500 * time.Millisecond)
		released, err := idle.Release(background(t), lease.Lease)
		ok(t, err)
		return released
	}
	until(t, "an idle process's lease ends", func() bool { return ended() == 0 })
	released, err := copying.Release(background(t), kept.Lease)
	ok(t, err)
	expect(t, "released, by the process that copies", 1, released)
	ok(t, copying.EndCopy(mark))
	until(t, "the copying process's lease ends", func() bool {
		lease, err := copying.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed, LeaseMs: 1})
		ok(t, err)
		time.Sleep(time.Second)
		released, err := copying.Release(background(t), lease.Lease)
		ok(t, err)
		return released == 0
	})
	released, err = copying.Release(background(t), second.Lease)
	ok(t, err)
	expect(t, "released, of a lease that has ended", 0, released)
}

func TestLeaseEnds(t *testing.T) {
	says(t,
		"after `lease_ms` nothing new may be read under it, and it ends when no copy under it can run",
		"`Renew` prolongs it, and never shortens it.",
		"A lease that ended, or was given under another incarnation.",
		"One for each lease, in order: false when it ended.",
		"and refuse if the lease's time (counted from before `Lookup`, or `Resolve`, was sent) is over.")
	attachment, handle := attached(t, session())
	packed := stored(t, attachment, handle, 0, 1, 1000)
	renew := func(lease uint64) bool {
		answer, err := attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Renew{
			Renew: &enginev1.Renew{Leases: []uint64{lease}, LeaseMs: 60_000}}})
		ok(t, err)
		return answer.GetRenew().Renewed[0]
	}
	long, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	expect(t, "renewed", true, renew(long.Lease))
	// Without it the second lease might have ended before it is released.
	_, err = attachment.BeginCopy()
	ok(t, err)
	short, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed, LeaseMs: 1})
	ok(t, err)
	until(t, "the lease's time ends", func() bool { return time.Now().After(short.expires) })
	object, err := attachment.Load(short, short.Records[0], true)
	ok(t, err)
	expect(t, "bytes", 0, len(object))
	until(t, "the node refuses", func() bool {
		_, err := attachment.Resolve(background(t), short.Lease)
		return CodeOf(err) == enginev1.Error_UNKNOWN_LEASE
	})
	expect(t, "renewed", false, renew(short.Lease))
	released, err := attachment.Release(background(t), short.Lease)
	ok(t, err)
	expect(t, "released", 1, released)
}

func TestLookupIsWokenByACommit(t *testing.T) {
	says(t, "How long the node may hold the answer while objects are pending.")
	writer, handle := attached(t, session())
	reader, readerHandle := attached(t, session())
	packed := keys(1)
	records, err := writer.Reserve(background(t),
		&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1000}})
	ok(t, err)
	now, err := reader.Lookup(background(t), &enginev1.Lookup{Namespace: readerHandle, Keys: packed})
	ok(t, err)
	expect(t, "pending", 1, now.PendingChunks)
	waits := lookupRequest(&enginev1.Lookup{Namespace: readerHandle, Keys: packed, WaitMs: 10 * 60_000})
	waits.DeadlineMs = 10 * 60_000
	id, held, err := reader.Send(waits)
	ok(t, err)
	_, err = reader.Call(background(t), pingRequest()) // The lookup waits by now.
	ok(t, err)
	mapping, err := writer.Mapping(records[0].Region)
	ok(t, err)
	ok(t, mapping.CopyIn(records[0], bytesOf(packed, 1000)))
	_, err = writer.Commit(background(t), &enginev1.Commit{Slots: records[0].Packed})
	ok(t, err)
	answer, err := reader.Await(background(t), id, held)
	ok(t, err)
	expect(t, "hits", 1, answer.GetLookup().HitChunks)
}

func TestTrailingWindow(t *testing.T) {
	says(t,
		"Only the last `window_chunks` chunks of the prefix must be there",
		"the group's hit rule does not need this object, and it is not leased.",
		"a group without a rule follows ALL_CHUNKS")
	window := whole()
	window.KvGroup = 1
	create := session(whole(), window)
	create.Groups = []*enginev1.GroupRule{{KvGroup: 1, Hit: enginev1.GroupRule_TRAILING_WINDOW, WindowChunks: 2}}
	attachment, handle := attached(t, create)
	packed := stored(t, attachment, handle, 0, 4, 1000)
	ok(t, attachment.Store(background(t), handle, 1, packed[64:], objectsOf(packed[64:], 1000), true))
	found, err := attachment.Lookup(background(t),
		&enginev1.Lookup{Namespace: handle, Keys: packed, Shards: []uint32{1}})
	ok(t, err)
	expect(t, "hits", 4, found.HitChunks)
	want := []enginev1.SlotStatus{notNeeded, notNeeded, hit, hit}
	if have := statuses(found.Records); !slices.Equal(have, want) {
		t.Fatalf("%v instead of %v", have, want)
	}
}

func TestStampsAreCheckedBeforeAndAfterTheCopy(t *testing.T) {
	says(t,
		"Read the region's stamp and the slot's stamp, with acquire. The first must be even, the second equal to the record's.",
		"If either differs from what it has to be, the object is a miss and the copied bytes are void.",
		"A client checks `slot < slots` and `length <= slot_bytes` all the same.")
	writer, handle := attached(t, session())
	packed := keys(1)
	records, err := writer.Reserve(background(t),
		&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1000}})
	ok(t, err)
	reserved := records[0]
	mapping, err := writer.Mapping(reserved.Region)
	ok(t, err)
	into := make([]byte, 1000)
	// The node itself changes the stamp in the middle of the copy: the commit makes the generation even.
	isHit, err := mapping.CopyOut(reserved, into, false, func() bool {
		_, err := writer.Commit(background(t), &enginev1.Commit{Slots: reserved.Packed})
		ok(t, err)
		return true
	})
	ok(t, err)
	expect(t, "changed during the copy", false, isHit)
	isHit, err = mapping.CopyOut(reserved, into, false, nil)
	ok(t, err)
	expect(t, "changed before the copy", false, isHit)
	found, err := writer.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	isHit, err = mapping.CopyOut(found.Records[0], into, false, nil)
	ok(t, err)
	expect(t, "unchanged", true, isHit)

	for name, change := range map[string]func(record *Record){
		"slot":   func(record *Record) { record.Slot = mapping.region.Slots },
		"length": func(record *Record) { record.Length = mapping.region.SlotBytes + 1 },
	} {
		wild := found.Records[0]
		change(&wild)
		if _, err := mapping.CopyOut(wild, into, false, nil); err == nil {
			t.Fatalf("a wild %s was not refused", name)
		}
	}
}

func TestRegionsAreCheckedBeforeTheyAreMapped(t *testing.T) {
	says(t,
		"the header file has at least `4096 + 256 * slots` bytes, and the data file at least the bytes that its preamble says",
		"magic, layout version, header size and the preamble's checksum are right, and region, slots and slot size are those of "+
			"the `Region`;",
		"the preamble's data bytes are at least `slots * slot_bytes`.",
		"CRC32C of bytes 0 to 39, in the low 32 bits",
		"Every region of this tenant at this time.")
	attachment, handle := attached(t, session())
	packed := stored(t, attachment, handle, 0, 1, 1000)
	found, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	mapping, err := attachment.Mapping(found.Records[0].Region)
	ok(t, err)
	region := mapping.region
	headerFile, dataFile := int64(len(mapping.header)), int64(binary.LittleEndian.Uint64(mapping.header[32:]))
	real := append([]byte{}, mapping.header[:preambleBytes]...)
	ok(t, CheckPreamble(real, headerFile, dataFile, region))
	latecomer, _ := attached(t, session())
	for _, told := range latecomer.Session.Regions {
		_, err := latecomer.Mapping(told.Region)
		ok(t, err)
	}
	expect(t, "known at once", true, latecomer.told[region.Region] != nil)

	summedAgain := func(preamble []byte) {
		binary.LittleEndian.PutUint64(preamble[40:], uint64(CRC32C(preamble[:40])))
	}
	for name, change := range map[string]func(preamble []byte){
		"magic":       func(p []byte) { p[0] ^= 1; summedAgain(p) },
		"version":     func(p []byte) { p[8]++; summedAgain(p) },
		"header size": func(p []byte) { p[13]++; summedAgain(p) },
		"region":      func(p []byte) { p[16]++; summedAgain(p) },
		"slots":       func(p []byte) { p[20]++; summedAgain(p) },
		"slot size":   func(p []byte) { p[25]++; summedAgain(p) },
		"data bytes":  func(p []byte) { binary.LittleEndian.PutUint64(p[32:], 0); summedAgain(p) },
		"checksum":    func(p []byte) { p[40]++ },
		"unsummed":    func(p []byte) { p[32]++ },
	} {
		changed := append([]byte{}, real...)
		change(changed)
		if CheckPreamble(changed, headerFile, dataFile, region) == nil {
			t.Errorf("another %s was not refused", name)
		}
	}
	if CheckPreamble(real, headerFile-1, dataFile, region) == nil {
		t.Error("a short header file was not refused")
	}
	if CheckPreamble(real, headerFile, dataFile-1, region) == nil {
		t.Error("a short data file was not refused")
	}
}
