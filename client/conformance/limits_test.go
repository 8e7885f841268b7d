package conformance

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	enginev1 "kvasir/engine/v1"
)

// Rows of the page's table of limits that no test here reaches, and why.
var unreached = map[string]string{
	"connections": "other tests need them",
	"time to say `Hello`, to send a begun frame":                                                                       "takes as long as the limit",
	"time in which nothing of an answer is read":                                                                       "takes as long as the limit",
	"unread answers of a connection":                                                                                   "the node's own tests send as much",
	"unread answers, half-sent requests, and requests that wait for their turn, of all connections":                    "the node's own tests send as much",
	"waiting requests, in memory: 32 bytes a key, and 40 for each object that a `Lookup` waits for (of at most 4,096)": "the node's own tests send as much",
	"all sessions together":        "the node's own tests make as many",
	"leased slots of a tenant":     "the node's own tests lease as much",
	"leased slots of all sessions": "the node's own tests lease as much",
	"leases; a session has at most half of what others leave, a tenant three quarters": "the node's own tests take as many",
	"objects in leases, one of each lease; the same shares":                            "the node's own tests take as many",
	"events kept for a tenant":                              "the node's own tests store as much",
	"events of an answer":                                   "the node's own tests store as much",
	"from `Reserve` to `Commit` or `Abort`":                 "the node's own tests wait as long",
	"lookups of more than 1,024 objects that are under way": "the node's own tests send as many",
	"length of a lease":                                     "TestLimitsThatAreNoErrors",
	"leased slots of a session":                             "TestLimitsThatAreNoErrors",
	"pinned slots of a tenant":                              "TestLimitsThatAreNoErrors",
	"reserved and quarantined slots of an attachment":       "TestFullDRAM",
	"connections of a tenant that have said `Hello`":        "the node's own tests configure one",
	"reserved and quarantined slots of a tenant":            "the node's own tests configure one",
	"an object, on this node":                               "TestObjectLongerThanAnySlot",
	"a frame":                                               "TestFramesThatEndTheConnection",
	"`Hello.client`, `CreateSession.name`":                  "TestHello",
	"`Pin.ttl_ms`":                                          "TestPins",
	"fields of a request":                                   "TestFieldsOfARequest",
	"waiting requests of a connection":                      "TestWaitingRequestsOfAConnection",
	"namespaces of a session":                               "TestNamespacesOfASession",
}

// limitRows are the first cells of the table.
func limitRows(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(page)
	ok(t, err)
	_, section, found := strings.Cut(string(text), "\n## Limits\n")
	expect(t, "the section is there", true, found)
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]string{}
	for _, line := range strings.Split(section, "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) == 3 && !strings.HasPrefix(line, "|---") && !strings.HasPrefix(line, "| what |") {
			rows[strings.TrimPrefix(cells[0], "| ")] = strings.TrimSuffix(cells[2], " |")
		}
	}
	return rows
}

func TestLimits(t *testing.T) {
	const invalid, exhausted = enginev1.Error_INVALID_ARGUMENT, enginev1.Error_RESOURCE_EXHAUSTED
	attachment, handle := attached(t, session())
	split := session()
	split.Shards = nil
	for layer := range uint32(64) {
		split.Shards = append(split.Shards, &enginev1.Shard{
			LayerBegin: layer, LayerEnd: layer + 1, HeadEnd: 1, PpSize: 1, CpSize: 1})
	}
	many, manyHandle := attached(t, split)
	unattached := greeted(t)
	attach := func(create *enginev1.CreateSession, quiesced ...uint64) *enginev1.Request {
		return &enginev1.Request{Call: &enginev1.Request_Attach{Attach: &enginev1.Attach{
			Session: &enginev1.Attach_Create{Create: create}, Quiesced: quiesced}}}
	}
	manyShards := session()
	for i := range uint32(4096) {
		manyShards.Shards = append(manyShards.Shards, &enginev1.Shard{
			LayerBegin: i, LayerEnd: i + 2, HeadEnd: 1, PpSize: 1, CpSize: 1})
	}
	twice := session(whole(), whole())
	none := session()
	none.Shards = nil
	rule := func(rules ...*enginev1.GroupRule) *enginev1.CreateSession {
		create := session()
		create.Groups = rules
		return create
	}
	trailing := enginev1.GroupRule_TRAILING_WINDOW
	long := func(n int) *enginev1.Namespace {
		return &enginev1.Namespace{Model: strings.Repeat("m", n), ChunkTokens: 1}
	}
	reserve := func(change func(reserve *enginev1.Reserve)) *enginev1.Request {
		reserve := &enginev1.Reserve{Namespace: handle, Keys: make([]byte, 32), Lengths: []uint64{1}}
		change(reserve)
		return reserveRequest(reserve)
	}
	const entries = 65_536
	rows := limitRows(t)
	reached := map[string]bool{}
	for _, row := range []struct {
		limit   string
		by      *Attachment
		request *enginev1.Request
		want    enginev1.Error_Code
	}{
		{"`Attach`, encoded", unattached, attach(&enginev1.CreateSession{
			Name: strings.Repeat("x", 1<<20), Shards: []*enginev1.Shard{whole()}}), invalid},
		{"`Attach.quiesced`", unattached, attach(session(), make([]uint64, 4097)...), invalid},
		{"shards of a session", unattached, attach(none), invalid},
		{"shards of a session", unattached, attach(twice), invalid},
		{"shards of a session", unattached, attach(manyShards), invalid},
		{"hit rules", unattached, attach(rule(&enginev1.GroupRule{KvGroup: 1})), invalid},
		{"hit rules", unattached, attach(rule(&enginev1.GroupRule{}, &enginev1.GroupRule{})), invalid},
		{"hit rules", unattached, attach(rule(&enginev1.GroupRule{Hit: trailing})), invalid},
		{"a `Namespace`", attachment, namespaceRequest(long(65_536)), invalid},
		{"a `Namespace`", attachment, namespaceRequest(&enginev1.Namespace{ChunkTokens: 1}), invalid},
		{"a `Namespace`", attachment, namespaceRequest(&enginev1.Namespace{Model: "m"}), invalid},
		{"keys, slot records, leases, `lengths`, `chunk_index` of a call", attachment,
			lookupRequest(&enginev1.Lookup{Namespace: handle, Keys: make([]byte, 32*(entries+1))}), invalid},
		{"keys, slot records, leases, `lengths`, `chunk_index` of a call", attachment,
			lookupRequest(&enginev1.Lookup{Namespace: handle, Keys: make([]byte, 31)}), invalid},
		{"keys, slot records, leases, `lengths`, `chunk_index` of a call", attachment,
			commitRequest(&enginev1.Commit{Slots: make([]byte, 32*(entries+1))}), invalid},
		{"keys, slot records, leases, `lengths`, `chunk_index` of a call", attachment,
			&enginev1.Request{Call: &enginev1.Request_Release{
				Release: &enginev1.Release{Leases: make([]uint64, entries+1)}}}, invalid},
		{"keys, slot records, leases, `lengths`, `chunk_index` of a call", attachment,
			&enginev1.Request{Call: &enginev1.Request_Renew{
				Renew: &enginev1.Renew{Leases: make([]uint64, entries+1)}}}, invalid},
		{"keys, slot records, leases, `lengths`, `chunk_index` of a call", attachment,
			reserve(func(reserve *enginev1.Reserve) { reserve.Lengths = make([]uint64, entries+1) }), invalid},
		{"keys, slot records, leases, `lengths`, `chunk_index` of a call", attachment,
			commitRequest(&enginev1.Commit{ChunkIndex: make([]uint32, entries+1)}), invalid},
		{"`shards` of a call", attachment,
			lookupRequest(&enginev1.Lookup{Namespace: handle, Keys: keys(1), Shards: []uint32{1}}), invalid},
		{"`shards` of a call", attachment,
			lookupRequest(&enginev1.Lookup{Namespace: handle, Keys: keys(1), Shards: []uint32{0, 0}}), invalid},
		{"keys x declared shards of `Lookup`, `Pin`, `Unpin`, `Scores`, `Handoff`; leases x shards of `Release`", many,
			lookupRequest(&enginev1.Lookup{Namespace: manyHandle, Keys: keys(2049), Shards: []uint32{0}}), exhausted},
		{"keys x declared shards of `Lookup`, `Pin`, `Unpin`, `Scores`, `Handoff`; leases x shards of `Release`", many,
			&enginev1.Request{Call: &enginev1.Request_Pin{
				Pin: &enginev1.Pin{Namespace: manyHandle, Keys: keys(2049), TtlMs: 1}}}, exhausted},
		{"slot records of an answer", many,
			lookupRequest(&enginev1.Lookup{Namespace: manyHandle, Keys: keys(2049)}), exhausted},
		{"an object", attachment, reserve(func(reserve *enginev1.Reserve) { reserve.Lengths[0] = 0 }), invalid},
		{"an object", attachment, reserve(func(reserve *enginev1.Reserve) { reserve.Lengths[0] = 1<<30 + 1 }), invalid},
		{"`codec`, `blocks`", attachment, reserve(func(reserve *enginev1.Reserve) { reserve.Codec = 65_536 }), invalid},
		{"`codec`, `blocks`", attachment, commitRequest(&enginev1.Commit{Blocks: 4097}), invalid},
	} {
		reached[row.limit] = true
		t.Run(row.limit, func(t *testing.T) {
			_, err := row.by.Call(background(t), row.request)
			refused(t, row.want, err)
			says := rows[row.limit]
			if !strings.Contains(says, row.want.String()) {
				t.Fatalf("the page says %q of it", says)
			}
		})
	}
	for limit := range rows {
		if !reached[limit] && unreached[limit] == "" {
			t.Errorf("no test reaches the limit %q", limit)
		}
	}
	for _, named := range []map[string]bool{reached, keysOf(unreached)} {
		for limit := range named {
			if _, isThere := rows[limit]; !isThere {
				t.Errorf("the page has no limit %q", limit)
			}
		}
	}
}

func keysOf(from map[string]string) map[string]bool {
	names := map[string]bool{}
	for name := range from {
		names[name] = true
	}
	return names
}

func TestFieldsOfARequest(t *testing.T) {
	attachment := greeted(t)
	id := uint64(1 << 40)
	answer := make(chan *enginev1.Response, 1)
	attachment.Conn.mu.Lock()
	attachment.Conn.waiting[id] = answer
	attachment.Conn.mu.Unlock()
	ping := pingRequest()
	ping.Id = id
	body, err := proto.Marshal(ping)
	ok(t, err)
	// deadline_ms, again and again: the last one counts, as everywhere in Protocol Buffers.
	ok(t, attachment.WriteFrame(append(body, strings.Repeat("\x10\x01", 64)...)))
	_, err = attachment.Await(background(t), id, answer)
	refused(t, enginev1.Error_INVALID_ARGUMENT, err)
}

func TestLimitsAreInclusive(t *testing.T) {
	attachment := greeted(t)
	create := session()
	create.Shards = nil
	for i := range uint32(4096) {
		create.Shards = append(create.Shards, &enginev1.Shard{
			LayerBegin: i, LayerEnd: i + 1, HeadEnd: 1, PpSize: 1, CpSize: 1})
	}
	create.Name = strings.Repeat("x", 1024)
	ok(t, attachment.Create(background(t), create, make([]uint64, 4096)...))
	handle, _, err := attachment.Namespace(background(t), namespace())
	ok(t, err)
	_, err = attachment.Lookup(background(t),
		&enginev1.Lookup{Namespace: handle, Keys: keys(131_072 / 4096), Shards: []uint32{4095}})
	ok(t, err)
	one, oneHandle := attached(t, session())
	_, err = one.Lookup(background(t), &enginev1.Lookup{Namespace: oneHandle, Keys: keys(65_536)})
	ok(t, err)
}

func TestWaitingRequestsOfAConnection(t *testing.T) {
	attachment := greeted(t)
	last := lastEvent(t, attachment)
	const most = 1024
	ids := make([]uint64, 0, most+1)
	answers := make([]<-chan *enginev1.Response, 0, most+1)
	for range most + 1 {
		waits := eventsRequest(&enginev1.Events{After: last, WaitMs: 50_000})
		waits.DeadlineMs = 55_000
		id, answer, err := attachment.Send(waits)
		ok(t, err)
		ids, answers = append(ids, id), append(answers, answer)
	}
	_, err := attachment.Await(background(t), ids[most], answers[most])
	refused(t, enginev1.Error_RESOURCE_EXHAUSTED, err)
	_, err = attachment.Call(background(t), pingRequest())
	ok(t, err)
}

func TestNamespacesOfASession(t *testing.T) {
	attachment := greeted(t)
	ok(t, attachment.Create(background(t), session()))
	const most = 4096
	answers := make([]<-chan *enginev1.Response, 0, most)
	ids := make([]uint64, 0, most)
	for i := range most {
		id, answer, err := attachment.Send(
			namespaceRequest(&enginev1.Namespace{Model: "limit " + strconv.Itoa(i), ChunkTokens: 1}))
		ok(t, err)
		ids, answers = append(ids, id), append(answers, answer)
	}
	for i := range answers {
		_, err := attachment.Await(background(t), ids[i], answers[i])
		ok(t, err)
	}
	_, _, err := attachment.Namespace(background(t), &enginev1.Namespace{Model: "one more", ChunkTokens: 1})
	refused(t, enginev1.Error_RESOURCE_EXHAUSTED, err)
}

func TestLimitsThatAreNoErrors(t *testing.T) {
	says(t,
		"What the session's lease quota has no space for is a `MISS` in the answer, although the object is there and `Reserve` "+
			"says `SLOT_EXISTS`: release leases. The answer is then the longest prefix that fits and that the hit rules of all "+
			"groups allow, and nothing is pending that could not be leased when it is there. An object counts once for a session, "+
			"however many of its leases hold it.")
	attachment, handle := attached(t, session())
	packed := stored(t, attachment, handle, 0, 4, 1<<20)
	long, err := attachment.Lookup(background(t),
		&enginev1.Lookup{Namespace: handle, Keys: packed, LeaseMs: 1<<32 - 1})
	ok(t, err)
	if long.LeaseMs == 0 || long.LeaseMs > 10*60_000 {
		t.Fatalf("a lease of %d ms", long.LeaseMs)
	}
	var leases []uint64
	var last *Found
	for range 64 { // The same again costs nothing.
		last, err = attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
		ok(t, err)
		expect(t, "hits", 4, last.HitChunks)
		leases = append(leases, last.Lease)
	}
	for range 64 { // 4 MiB each; half of DRAM is 64 MiB in the node that ./kvasir test starts.
		packed = stored(t, attachment, handle, 0, 4, 1<<20)
		last, err = attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
		ok(t, err)
		leases = append(leases, last.Lease)
		if last.HitChunks < 4 {
			break
		}
	}
	if last.HitChunks == 4 {
		t.Fatal("the quota was never used up")
	}
	expect(t, "the rest", enginev1.PlanRange_MISS, last.Plan[len(last.Plan)-1].Status)
	records, err := attachment.Reserve(background(t),
		&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1 << 20}})
	ok(t, err)
	if have := statuses(records); !slices.Equal(have, []enginev1.SlotStatus{exists, exists, exists, exists}) {
		t.Fatalf("%v", have)
	}
	for _, lease := range leases {
		if lease != 0 {
			_, err = attachment.Release(background(t), lease)
			ok(t, err)
		}
	}
	again, err := attachment.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
	ok(t, err)
	expect(t, "hits", 4, again.HitChunks)
}

func TestCallsOfAClusterWithoutOne(t *testing.T) {
	says(t, "Both are `UNSUPPORTED` where `cluster.seeds` is empty")
	attachment, handle := attached(t, session())
	_, err := attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Scores{
		Scores: &enginev1.Scores{Namespace: handle, Keys: keys(1)}}})
	refused(t, enginev1.Error_UNSUPPORTED, err)
	_, err = attachment.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Handoff{
		Handoff: &enginev1.Handoff{Namespace: handle, Keys: keys(1), Target: "other"}}})
	refused(t, enginev1.Error_UNSUPPORTED, err)
}
