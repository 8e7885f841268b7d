package conformance

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	enginev1 "kvasir/engine/v1"
)

// Attachment is one process as the node knows it: a connection, mappings, and a lock that shows that it lives.
type Attachment struct {
	*Conn
	Hello   *enginev1.HelloResult
	Session *enginev1.AttachResult
	lock    *os.File

	mu       sync.Mutex
	marks    bool
	next     uint64
	running  []uint64
	told     map[uint32]*enginev1.Region
	mappings map[uint32]*Mapping
}

// Greet connects, says Hello and takes the lock.
func Greet(ctx context.Context, socket string) (*Attachment, error) {
	conn, err := Dial(socket)
	if err != nil {
		return nil, err
	}
	attachment := &Attachment{Conn: conn, told: map[uint32]*enginev1.Region{}, mappings: map[uint32]*Mapping{}}
	conn.mu.Lock()
	conn.onAnswer = attachment.note
	conn.mu.Unlock()
	answer, err := conn.Call(ctx, &enginev1.Request{Call: &enginev1.Request_Hello{
		Hello: &enginev1.Hello{Protocol: 1, Client: "conformance (Go)"}}})
	if err != nil {
		conn.Close()
		return nil, err
	}
	attachment.Hello = answer.GetHello()
	conn.mu.Lock()
	conn.frameLimit = attachment.Hello.MaxFrameBytes
	conn.mu.Unlock()
	if err := attachment.takeLock(); err != nil {
		conn.Close()
		return nil, err
	}
	return attachment, nil
}

// The file is opened once: closing any descriptor of it would give the lock up.
func (a *Attachment) takeLock() error {
	file, err := os.OpenFile(filepath.Join(a.Hello.Directory, a.Hello.LockFile), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	whole := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: int16(os.SEEK_SET)}
	if err := syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &whole); err != nil {
		file.Close()
		return fmt.Errorf("the lock on %s: %w", a.Hello.LockFile, err)
	}
	a.lock = file
	return a.startMarks()
}

const (
	lockMagic    = "KVASIRL1"
	nextOffset   = 64
	oldestOffset = 72
)

func (a *Attachment) startMarks() error {
	head := make([]byte, 12)
	if _, err := a.lock.ReadAt(head, 0); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	if string(head[:8]) != lockMagic || binary.LittleEndian.Uint32(head[8:]) != 1 {
		return fmt.Errorf("%s begins with %x", a.Hello.LockFile, head)
	}
	a.next, a.marks = 1, true
	if err := a.writeMark(oldestOffset, 1); err != nil {
		return err
	}
	return a.writeMark(nextOffset, 1)
}

func (a *Attachment) writeMark(offset int64, number uint64) error {
	if !a.marks {
		return nil
	}
	_, err := a.lock.WriteAt(binary.LittleEndian.AppendUint64(nil, number), offset)
	return err
}

// BeginCopy marks a copy; the lease's time has to be looked at afterwards.
func (a *Attachment) BeginCopy() (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	number := a.next
	a.next++
	a.running = append(a.running, number)
	return number, a.writeMark(nextOffset, a.next)
}

// EndCopy says that nothing of the copy with this number runs any more.
func (a *Attachment) EndCopy(number uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = slices.DeleteFunc(a.running, func(each uint64) bool { return each == number })
	oldest := a.next
	if len(a.running) > 0 {
		oldest = a.running[0]
	}
	return a.writeMark(oldestOffset, oldest)
}

// Create makes a session.
func (a *Attachment) Create(ctx context.Context, session *enginev1.CreateSession, quiesced ...uint64) error {
	return a.attach(ctx, &enginev1.Attach{Session: &enginev1.Attach_Create{Create: session}, Quiesced: quiesced})
}

// Join joins the session of another attachment.
func (a *Attachment) Join(ctx context.Context, session uint64, secret []byte) error {
	join := &enginev1.JoinSession{Session: session, Secret: secret}
	return a.attach(ctx, &enginev1.Attach{Session: &enginev1.Attach_Join{Join: join}})
}

func (a *Attachment) attach(ctx context.Context, attach *enginev1.Attach) error {
	answer, err := a.Call(ctx, &enginev1.Request{Call: &enginev1.Request_Attach{Attach: attach}})
	if err != nil {
		return err
	}
	a.Session = answer.GetAttach()
	return nil
}

// Namespace opens a namespace and returns its handle and id.
func (a *Attachment) Namespace(ctx context.Context, namespace *enginev1.Namespace) (uint32, []byte, error) {
	answer, err := a.Call(ctx, &enginev1.Request{Call: &enginev1.Request_OpenNamespace{
		OpenNamespace: &enginev1.OpenNamespace{Namespace: namespace}}})
	if err != nil {
		return 0, nil, err
	}
	return answer.GetOpenNamespace().Handle, answer.GetOpenNamespace().Id, nil
}

// CloseConn ends the connection; mappings and lock stay, as if copies were still under way.
func (a *Attachment) CloseConn() {
	a.Conn.Close()
	<-a.Ended()
}

// Close stops, unmaps, and gives the lock up last.
func (a *Attachment) Close() {
	a.CloseConn()
	a.mu.Lock()
	for _, mapping := range a.mappings {
		mapping.Close()
	}
	a.mappings = map[uint32]*Mapping{}
	a.mu.Unlock()
	if a.lock != nil {
		a.lock.Close()
		a.lock = nil
	}
}

// note remembers the regions that an answer names, and gives back what an answer grants that nobody waits for.
func (a *Attachment) note(answer *enginev1.Response, isLate bool) {
	a.mu.Lock()
	for _, regions := range [][]*enginev1.Region{
		answer.GetAttach().GetRegions(), answer.GetLookup().GetRegions(),
		answer.GetResolve().GetRegions(), answer.GetReserve().GetRegions(),
	} {
		for _, region := range regions {
			a.told[region.Region] = region
			if old := a.mappings[region.Region]; old != nil {
				// The number came again: the old region is retired.
				delete(a.mappings, region.Region)
				old.Close()
			}
		}
	}
	a.mu.Unlock()
	if !isLate {
		return
	}
	if lease := answer.GetLookup().GetLease(); lease != 0 {
		go a.Send(&enginev1.Request{Call: &enginev1.Request_Release{Release: &enginev1.Release{Leases: []uint64{lease}}}})
	}
	if records, err := Records(answer.GetReserve().GetSlots()); err == nil {
		if granted := pack(records, enginev1.SlotStatus_SLOT_GRANTED); len(granted) > 0 {
			go a.Send(&enginev1.Request{Call: &enginev1.Request_Abort{Abort: &enginev1.Abort{Slots: granted}}})
		}
	}
}

// pack returns the records of one status as they came.
func pack(records []Record, status enginev1.SlotStatus) []byte {
	var packed []byte
	for _, record := range records {
		if record.Status == status {
			packed = append(packed, record.Packed...)
		}
	}
	return packed
}

// Mapping is the mapped region of a record.
func (a *Attachment) Mapping(number uint32) (*Mapping, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if mapping := a.mappings[number]; mapping != nil && !mapping.IsRetired() {
		return mapping, nil
	}
	region := a.told[number]
	if region == nil {
		return nil, fmt.Errorf("region %d was never named", number)
	}
	mapping, err := MapRegion(a.Hello.Directory, region)
	if err != nil {
		return nil, err
	}
	a.mappings[number] = mapping
	return mapping, nil
}

// Reserve asks for slots for objects of these lengths (one for all, or one for each key).
func (a *Attachment) Reserve(ctx context.Context, reserve *enginev1.Reserve) ([]Record, error) {
	answer, err := a.Call(ctx, &enginev1.Request{Call: &enginev1.Request_Reserve{Reserve: reserve}})
	if err != nil {
		return nil, err
	}
	return Records(answer.GetReserve().Slots)
}

// Commit returns one status for each record.
func (a *Attachment) Commit(ctx context.Context, commit *enginev1.Commit) ([]byte, error) {
	answer, err := a.Call(ctx, &enginev1.Request{Call: &enginev1.Request_Commit{Commit: commit}})
	return answer.GetCommit().GetStatuses(), err
}

// Store reserves, copies and commits a chain of objects of one shard; all of them must be granted.
func (a *Attachment) Store(ctx context.Context, handle, shard uint32, keys []byte, objects [][]byte, sum bool) error {
	lengths := make([]uint64, len(objects))
	for i, object := range objects {
		lengths[i] = uint64(len(object))
	}
	records, err := a.Reserve(ctx, &enginev1.Reserve{Namespace: handle, Shard: shard, Keys: keys, Lengths: lengths})
	if err != nil {
		return err
	}
	commit := &enginev1.Commit{ChunkIndex: []uint32{0}}
	parent := make([]byte, 32)
	for i, record := range records {
		if record.Status != enginev1.SlotStatus_SLOT_GRANTED {
			return fmt.Errorf("key %d: %v", i, record.Status)
		}
		mapping, err := a.Mapping(record.Region)
		if err != nil {
			return err
		}
		if err := mapping.CopyIn(record, objects[i]); err != nil {
			return err
		}
		commit.Slots = append(commit.Slots, record.Packed...)
		commit.Parents = append(commit.Parents, parent...)
		parent = keys[32*i : 32*i+32]
		if sum {
			commit.Crc32C = binary.LittleEndian.AppendUint32(commit.Crc32C, CRC32C(objects[i]))
		}
	}
	statuses, err := a.Commit(ctx, commit)
	for i, status := range statuses {
		if enginev1.SlotStatus(status) != enginev1.SlotStatus_SLOT_COMMITTED {
			err = errors.Join(err, fmt.Errorf("key %d: %v", i, enginev1.SlotStatus(status)))
		}
	}
	return err
}

// Found is what a Lookup or Resolve gave: records that may be copied until `expires`.
type Found struct {
	*enginev1.LookupResult
	Records []Record
	expires time.Time
}

// Lookup asks; the lease's time counts from before it is sent.
func (a *Attachment) Lookup(ctx context.Context, lookup *enginev1.Lookup) (*Found, error) {
	sent := time.Now()
	answer, err := a.Call(ctx, &enginev1.Request{Call: &enginev1.Request_Lookup{Lookup: lookup}})
	if err != nil {
		return nil, err
	}
	result := answer.GetLookup()
	records, err := Records(result.Slots)
	return &Found{result, records, sent.Add(time.Duration(result.LeaseMs) * time.Millisecond)}, err
}

// Resolve is a worker's way to the slots of its scheduler's lease.
func (a *Attachment) Resolve(ctx context.Context, lease uint64, shards ...uint32) (*Found, error) {
	sent := time.Now()
	answer, err := a.Call(ctx, &enginev1.Request{Call: &enginev1.Request_Resolve{
		Resolve: &enginev1.Resolve{Lease: lease, Shards: shards}}})
	if err != nil {
		return nil, err
	}
	result := answer.GetResolve()
	records, err := Records(result.Slots)
	found := &enginev1.LookupResult{Lease: lease, LeaseMs: result.LeaseMs}
	return &Found{found, records, sent.Add(time.Duration(result.LeaseMs) * time.Millisecond)}, err
}

// Release gives a lease back, or some shards of it.
func (a *Attachment) Release(ctx context.Context, lease uint64, shards ...uint32) (uint32, error) {
	answer, err := a.Call(ctx, &enginev1.Request{Call: &enginev1.Request_Release{
		Release: &enginev1.Release{Leases: []uint64{lease}, Shards: shards}}})
	return answer.GetRelease().GetReleased(), err
}

// Load copies one object out. Nil: a miss.
func (a *Attachment) Load(found *Found, record Record, verify bool) ([]byte, error) {
	mark, err := a.BeginCopy()
	if err != nil {
		return nil, err
	}
	defer a.EndCopy(mark)
	if record.Status != enginev1.SlotStatus_SLOT_HIT || found.Lease == 0 || !time.Now().Before(found.expires) {
		return nil, nil
	}
	mapping, err := a.Mapping(record.Region)
	if err != nil {
		return nil, err
	}
	object := make([]byte, record.Length)
	if hit, err := mapping.CopyOut(record, object, verify, nil); err != nil || !hit {
		return nil, err
	}
	return object, nil
}
