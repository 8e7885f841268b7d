package conformance

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	enginev1 "kvasir/engine/v1"
)

func TestCallsBeforeTheirTime(t *testing.T) {
	says(t, "`Ping` and `Cancel` need no `Hello`, and `Events` no `Attach`; any other call before them is `NOT_ATTACHED`.")
	calls := map[string]*enginev1.Request{
		"Lookup":        lookupRequest(&enginev1.Lookup{}),
		"OpenNamespace": namespaceRequest(namespace()),
		"Reserve":       reserveRequest(&enginev1.Reserve{}),
		"Commit":        commitRequest(&enginev1.Commit{}),
		"Release":       {Call: &enginev1.Request_Release{Release: &enginev1.Release{}}},
		"Renew":         {Call: &enginev1.Request_Renew{Renew: &enginev1.Renew{}}},
		"Resolve":       {Call: &enginev1.Request_Resolve{Resolve: &enginev1.Resolve{}}},
		"Abort":         {Call: &enginev1.Request_Abort{Abort: &enginev1.Abort{}}},
		"Pin":           {Call: &enginev1.Request_Pin{Pin: &enginev1.Pin{TtlMs: 1}}},
		"Unpin":         {Call: &enginev1.Request_Unpin{Unpin: &enginev1.Unpin{}}},
	}
	conn, err := Dial(socket())
	ok(t, err)
	defer conn.Close()
	_, err = conn.Call(background(t), pingRequest())
	ok(t, err)
	answer, err := conn.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Cancel{
		Cancel: &enginev1.Cancel{Request: 77}}})
	ok(t, err)
	expect(t, "cancelled", false, answer.GetCancel().Cancelled)
	_, err = conn.Call(background(t), eventsRequest(&enginev1.Events{}))
	refused(t, enginev1.Error_NOT_ATTACHED, err)
	_, err = conn.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Attach{Attach: &enginev1.Attach{
		Session: &enginev1.Attach_Create{Create: session()}}}})
	refused(t, enginev1.Error_NOT_ATTACHED, err)

	said := greeted(t)
	_, err = said.Call(background(t), eventsRequest(&enginev1.Events{}))
	ok(t, err)
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			_, err := conn.Call(background(t), call)
			refused(t, enginev1.Error_NOT_ATTACHED, err)
			_, err = said.Call(background(t), call)
			refused(t, enginev1.Error_NOT_ATTACHED, err)
		})
	}
}

func TestHello(t *testing.T) {
	says(t, "`Hello`, with `protocol` 1.", "Another protocol version, or a call that this node does not serve.")
	conn, err := Dial(socket())
	ok(t, err)
	defer conn.Close()
	for _, row := range []struct {
		name  string
		hello *enginev1.Hello
		want  enginev1.Error_Code
	}{
		{"protocol 2", &enginev1.Hello{Protocol: 2}, enginev1.Error_UNSUPPORTED},
		{"client too long", &enginev1.Hello{Protocol: 1, Client: string(bytes.Repeat([]byte("x"), 1025))},
			enginev1.Error_INVALID_ARGUMENT},
		{"client with a line end", &enginev1.Hello{Protocol: 1, Client: "a\nb"}, enginev1.Error_INVALID_ARGUMENT},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := conn.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Hello{Hello: row.hello}})
			refused(t, row.want, err)
		})
	}
	_, err = conn.Call(background(t), &enginev1.Request{})
	refused(t, enginev1.Error_UNSUPPORTED, err)
}

func TestAttachNeedsTheLock(t *testing.T) {
	says(t,
		"take an exclusive POSIX record lock (`fcntl` `F_SETLK`, `F_WRLCK`) over the whole file, without waiting.",
		"BEFORE Attach")
	conn, err := Dial(socket())
	ok(t, err)
	defer conn.Close()
	_, err = conn.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Hello{
		Hello: &enginev1.Hello{Protocol: 1}}})
	ok(t, err)
	_, err = conn.Call(background(t), &enginev1.Request{Call: &enginev1.Request_Attach{Attach: &enginev1.Attach{
		Session: &enginev1.Attach_Create{Create: session()}}}})
	refused(t, enginev1.Error_INVALID_ARGUMENT, err)
}

func TestFreeLockEndsTheConnection(t *testing.T) {
	says(t,
		"POSIX record locks end as soon as the process closes **any** descriptor of the file.",
		"A free lock means that the process has ended: the node then closes the connection (`NOT_ATTACHED`, id 0) and takes "+
			"back what it had reserved.")
	attachment, handle := attached(t, session())
	other, otherHandle := attached(t, session())
	reserve := &enginev1.Reserve{Namespace: handle, Keys: keys(1), Lengths: []uint64{1000}}
	records, err := attachment.Reserve(background(t), reserve)
	ok(t, err)
	expect(t, "reserve", enginev1.SlotStatus_SLOT_GRANTED, records[0].Status)
	path := filepath.Join(attachment.Hello.Directory, attachment.Hello.LockFile)
	again, err := os.Open(path)
	ok(t, err)
	ok(t, again.Close())
	refused(t, enginev1.Error_NOT_ATTACHED, attachment.Failure())
	reserve.Namespace = otherHandle
	until(t, "the slot is free", func() bool {
		records, err := other.Reserve(background(t), reserve)
		ok(t, err)
		return records[0].Status == enginev1.SlotStatus_SLOT_GRANTED
	})
}

func TestJoining(t *testing.T) {
	says(t,
		"or `JoinSession` with the id and secret that the creating process was given.",
		"its `handle` is valid in the whole session. The answer to `Attach` lists those that are open already.",
		"The session's shards, in order (so that a joining worker can find its own).",
		"A session that ended, or a wrong secret.",
		"A namespace handle that this session never opened.")
	scheduler, handle := attached(t, session(halves()...))
	worker := greeted(t)
	refused(t, enginev1.Error_UNKNOWN_SESSION,
		worker.Join(background(t), scheduler.Session.Session, make([]byte, 16)))
	refused(t, enginev1.Error_UNKNOWN_SESSION,
		worker.Join(background(t), scheduler.Session.Session+1, scheduler.Session.Secret))
	ok(t, worker.Join(background(t), scheduler.Session.Session, scheduler.Session.Secret))
	expect(t, "shards", 2, len(worker.Session.Shards))
	expect(t, "the second shard's heads", 1, worker.Session.Shards[1].HeadBegin)
	expect(t, "namespaces", 1, len(worker.Session.Namespaces))
	expect(t, "handle", handle, worker.Session.Namespaces[0].Handle)
	again, _, err := worker.Namespace(background(t), namespace())
	ok(t, err)
	expect(t, "handle", handle, again)
	_, err = worker.Lookup(background(t), &enginev1.Lookup{Namespace: handle + 1, Keys: keys(1)})
	refused(t, enginev1.Error_UNKNOWN_NAMESPACE, err)
	refused(t, enginev1.Error_INVALID_ARGUMENT, worker.Create(background(t), session()))
}

func TestSessionEndsWithItsLastConnection(t *testing.T) {
	says(t,
		"A session ends with its last connection. As long as it has one, processes may join it, also one that lost its own "+
			"connection; afterwards `JoinSession` is `UNKNOWN_SESSION`.")
	creator, _ := attached(t, session())
	id, secret := creator.Session.Session, creator.Session.Secret
	worker := greeted(t)
	ok(t, worker.Join(background(t), id, secret))
	creator.Close()
	back := greeted(t)
	ok(t, back.Join(background(t), id, secret))
	worker.Close()
	back.Close()
	until(t, "the session ends", func() bool {
		late := greeted(t)
		defer late.Close()
		err := late.Join(background(t), id, secret)
		if err != nil {
			refused(t, enginev1.Error_UNKNOWN_SESSION, err)
		}
		return err != nil
	})
}

func TestReservedSlotsOutliveTheConnection(t *testing.T) {
	says(t,
		"A connection that ends does not free what was reserved: the process may still be copying. The slots stay out of use "+
			"until `Attach.quiesced` names the attachment, or its lock is free; others may reserve the keys at once.",
		"It outlives the connection")
	for _, row := range []struct {
		name string
		free func(t *testing.T, lost *Attachment)
	}{
		{"until it is quiesced", func(t *testing.T, lost *Attachment) {
			attached(t, session(), lost.Hello.Attachment)
		}},
		{"until its lock is free", func(t *testing.T, lost *Attachment) { lost.Close() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			lost, handle := attached(t, session())
			other, otherHandle := attached(t, session())
			packed := keys(1)
			reserve := func(attachment *Attachment, handle uint32) Record {
				records, err := attachment.Reserve(background(t),
					&enginev1.Reserve{Namespace: handle, Keys: packed, Lengths: []uint64{1000}})
				ok(t, err)
				expect(t, "status", enginev1.SlotStatus_SLOT_GRANTED, records[0].Status)
				return records[0]
			}
			record := reserve(lost, handle)
			seen, err := MapRegion(lost.Hello.Directory, lost.told[record.Region])
			ok(t, err)
			defer seen.Close()
			lost.CloseConn()
			var anew Record
			until(t, "the node has seen the end", func() bool {
				records, err := other.Reserve(background(t),
					&enginev1.Reserve{Namespace: otherHandle, Keys: packed, Lengths: []uint64{1000}})
				ok(t, err)
				anew = records[0]
				return anew.Status == enginev1.SlotStatus_SLOT_GRANTED
			})
			if anew.Region == record.Region && anew.Slot == record.Slot {
				t.Fatal("a slot that may still be written was given to another attachment")
			}
			expect(t, "the slot is as it was", true, seen.current(record))
			row.free(t, lost)
			until(t, "the slot is free", func() bool { return !seen.current(record) })
		})
	}
}

func TestShardsAreIdentity(t *testing.T) {
	says(t,
		"The nine numbers of a `Shard` are part of the object's identity, **exactly as they are sent**",
		"two engines find each other's objects only if both name the part in the same way.")
	writer, handle := attached(t, session())
	packed := stored(t, writer, handle, 0, 1, 1000)
	for _, row := range []struct {
		name  string
		shard *enginev1.Shard
		hits  uint32
	}{
		{"the same", whole(), 1},
		{"more layers", &enginev1.Shard{LayerEnd: 2, HeadEnd: 1, PpSize: 1, CpSize: 1}, 0},
		{"more heads", &enginev1.Shard{LayerEnd: 1, HeadEnd: 2, PpSize: 1, CpSize: 1}, 0},
		{"another group", &enginev1.Shard{LayerEnd: 1, HeadEnd: 1, KvGroup: 1, PpSize: 1, CpSize: 1}, 0},
		{"another pipeline", &enginev1.Shard{LayerEnd: 1, HeadEnd: 1, PpSize: 2, CpSize: 1}, 0},
		{"another context split", &enginev1.Shard{LayerEnd: 1, HeadEnd: 1, PpSize: 1, CpSize: 2}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			reader, handle := attached(t, session(row.shard))
			found, err := reader.Lookup(background(t), &enginev1.Lookup{Namespace: handle, Keys: packed})
			ok(t, err)
			expect(t, "hits", row.hits, found.HitChunks)
		})
	}
}

func TestShardsThatCannotBe(t *testing.T) {
	says(t,
		"half-open and not empty; at most 65,535",
		"the rank is below the size; at most 255",
		"the rank is below the size; at most 65,535")
	attachment := greeted(t)
	for name, change := range map[string]func(shard *enginev1.Shard){
		"all zero":          func(shard *enginev1.Shard) { shard.Reset() },
		"no layers":         func(shard *enginev1.Shard) { shard.LayerBegin = 1 },
		"layers backwards":  func(shard *enginev1.Shard) { shard.LayerBegin = 2 },
		"no heads":          func(shard *enginev1.Shard) { shard.HeadEnd = 0 },
		"no pipeline":       func(shard *enginev1.Shard) { shard.PpSize = 0 },
		"rank 9 of 1":       func(shard *enginev1.Shard) { shard.PpRank = 9 },
		"no context ranks":  func(shard *enginev1.Shard) { shard.CpSize = 0 },
		"context rank 2/2":  func(shard *enginev1.Shard) { shard.CpRank, shard.CpSize = 2, 2 },
		"256 pipelines":     func(shard *enginev1.Shard) { shard.PpSize = 256 },
		"65536 layers":      func(shard *enginev1.Shard) { shard.LayerEnd = 65536 },
		"65536 heads":       func(shard *enginev1.Shard) { shard.HeadEnd = 65536 },
		"65536 groups":      func(shard *enginev1.Shard) { shard.KvGroup = 65536 },
		"65536 of contexts": func(shard *enginev1.Shard) { shard.CpSize = 65536 },
	} {
		t.Run(name, func(t *testing.T) {
			shard := whole()
			change(shard)
			refused(t, enginev1.Error_INVALID_ARGUMENT, attachment.Create(background(t), session(shard)))
		})
	}
	ok(t, attachment.Create(background(t), session()))
}

func TestNamespaceIDs(t *testing.T) {
	says(t,
		"BLAKE3 with 32 bytes of output over these fields in this order",
		"Fields that are empty or 0 are hashed too, with an empty value or eight zero bytes.",
		"in the order of the names' bytes, compared unsigned")
	attachment := greeted(t)
	ok(t, attachment.Create(background(t), session()))
	for name, namespace := range map[string]*enginev1.Namespace{
		"least":     {Model: "m", ChunkTokens: 1},
		"non-ASCII": {Model: "modèle-模型", ChunkTokens: 256, Lora: "ü", Layout: "é"},
		"all": {
			Model: "m", WeightsDigest: []byte{0, 255, 128}, HashAlgorithm: "sha256", HashSeed: "7", KvDtype: "bf16",
			Quantization: "q", Layout: "l", ChunkTokens: 1 << 31, Lora: "a", Generation: 1<<63 + 5,
			Extra: map[string]string{"z": "1", "a": "", "ÿ": "2", "é": "3", "": "4", "𐀀": "5", "｡": "6"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, id, err := attachment.Namespace(background(t), namespace)
			ok(t, err)
			want := NamespaceID(attachment.Hello.Tenant, namespace)
			if !bytes.Equal(want[:], id) {
				t.Fatalf("the node says %x, the page %x", id, want)
			}
		})
	}
}
