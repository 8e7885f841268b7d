package conformance

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"unsafe"

	enginev1 "kvasir/engine/v1"
)

const (
	preambleBytes = 4096
	headerBytes   = 256
	recordBytes   = 32
	magic         = "KVASIRH1"
	layoutVersion = 1
	stampOfRegion = 64
	checksumWord  = 8
	summed        = 1 << 63
	copyStep      = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C is Castagnoli's.
func CRC32C(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// Record is a SlotRecord, unpacked.
type Record struct {
	Status enginev1.SlotStatus
	Tier   enginev1.Tier
	Region uint32
	Slot   uint32
	Stamp  uint64
	Length uint64
	// As it came: it goes back unchanged.
	Packed []byte
}

// Records unpacks SlotRecord x n.
func Records(packed []byte) ([]Record, error) {
	if len(packed)%recordBytes != 0 {
		return nil, fmt.Errorf("slots have %d bytes, no multiple of %d", len(packed), recordBytes)
	}
	records := make([]Record, 0, len(packed)/recordBytes)
	for at := 0; at < len(packed); at += recordBytes {
		part := packed[at : at+recordBytes]
		records = append(records, Record{
			Status: enginev1.SlotStatus(part[0]),
			Tier:   enginev1.Tier(part[1]),
			Region: binary.LittleEndian.Uint32(part[4:]),
			Slot:   binary.LittleEndian.Uint32(part[8:]),
			Stamp:  binary.LittleEndian.Uint64(part[16:]),
			Length: binary.LittleEndian.Uint64(part[24:]),
			Packed: part,
		})
	}
	return records, nil
}

// Mapping is a mapped region.
type Mapping struct {
	region *enginev1.Region
	header []byte
	data   []byte
	// Where stores go; mapped once this attachment has reserved slots here.
	writable []byte
	dataPath string
}

// CheckPreamble compares a header file's beginning and the files' sizes with what the page asks for before mapping.
func CheckPreamble(preamble []byte, headerFileBytes, dataFileBytes int64, region *enginev1.Region) error {
	if least := preambleBytes + headerBytes*int64(region.Slots); headerFileBytes < least || len(preamble) < preambleBytes {
		return fmt.Errorf("the header file has %d bytes, fewer than %d", headerFileBytes, least)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(preamble[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(preamble[at:]) }
	switch {
	case string(preamble[:8]) != magic:
		return fmt.Errorf("the magic is %q", preamble[:8])
	case u32(8) != layoutVersion:
		return fmt.Errorf("the layout version is %d", u32(8))
	case u32(12) != headerBytes:
		return fmt.Errorf("a header has %d bytes", u32(12))
	case uint32(u64(40)) != CRC32C(preamble[:40]):
		return fmt.Errorf("the preamble's checksum is %#x", u64(40))
	case u32(16) != region.Region || u32(20) != region.Slots || u64(24) != region.SlotBytes:
		return fmt.Errorf("region %d of %d slots of %d bytes instead of %v", u32(16), u32(20), u64(24), region)
	case u64(32) < uint64(region.Slots)*region.SlotBytes:
		return fmt.Errorf("%d data bytes for %d slots of %d", u64(32), region.Slots, region.SlotBytes)
	case uint64(dataFileBytes) < u64(32):
		return fmt.Errorf("the data file has %d bytes, the preamble says %d", dataFileBytes, u64(32))
	}
	return nil
}

// MapRegion checks the files of a region and maps them read-only and shared.
func MapRegion(directory string, region *enginev1.Region) (*Mapping, error) {
	headerFile, err := os.Open(filepath.Join(directory, region.HeaderFile))
	if err != nil {
		return nil, err
	}
	defer headerFile.Close()
	dataPath := filepath.Join(directory, region.DataFile)
	dataFile, err := os.Open(dataPath)
	if err != nil {
		return nil, err
	}
	defer dataFile.Close()
	headerInfo, err := headerFile.Stat()
	if err != nil {
		return nil, err
	}
	dataInfo, err := dataFile.Stat()
	if err != nil {
		return nil, err
	}
	preamble := make([]byte, preambleBytes)
	if _, err := headerFile.ReadAt(preamble, 0); err != nil {
		return nil, err
	}
	if err := CheckPreamble(preamble, headerInfo.Size(), dataInfo.Size(), region); err != nil {
		return nil, err
	}
	const shared = syscall.MAP_SHARED | syscall.MAP_POPULATE
	headerSize := preambleBytes + headerBytes*int(region.Slots)
	header, err := syscall.Mmap(int(headerFile.Fd()), 0, headerSize, syscall.PROT_READ, shared)
	if err != nil {
		return nil, err
	}
	dataSize := int(uint64(region.Slots) * region.SlotBytes)
	data, err := syscall.Mmap(int(dataFile.Fd()), 0, dataSize, syscall.PROT_READ, shared)
	if err != nil {
		syscall.Munmap(header)
		return nil, err
	}
	return &Mapping{region: region, header: header, data: data, dataPath: dataPath}, nil
}

// Close unmaps.
func (m *Mapping) Close() {
	for _, mapped := range [][]byte{m.header, m.data, m.writable} {
		if mapped != nil {
			syscall.Munmap(mapped)
		}
	}
	m.header, m.data, m.writable = nil, nil, nil
}

func (m *Mapping) word(at int) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&m.header[at])))
}

func (m *Mapping) slotAt(slot uint32) int { return preambleBytes + headerBytes*int(slot) }

// IsRetired says whether the region's stamp is odd.
func (m *Mapping) IsRetired() bool { return m.word(stampOfRegion)%2 != 0 }

// SumOf is the CRC32C of the slot's object, if the node or the engine that stored it gave one.
func (m *Mapping) SumOf(slot uint32) (sum uint32, known bool) {
	word := m.word(m.slotAt(slot) + checksumWord)
	return uint32(word), word&summed != 0
}

func (m *Mapping) check(record Record) error {
	if record.Slot >= m.region.Slots || record.Length > m.region.SlotBytes {
		return fmt.Errorf("slot %d, %d bytes: region %d has %d slots of %d bytes",
			record.Slot, record.Length, m.region.Region, m.region.Slots, m.region.SlotBytes)
	}
	return nil
}

// current is true as long as the slot holds what the record was made for.
func (m *Mapping) current(record Record) bool {
	return !m.IsRetired() && m.word(m.slotAt(record.Slot)) == record.Stamp
}

// Orders what came before it before what comes after it.
var fence atomic.Uint64

// CopyOut copies the record's object to `into`. False: a miss, and the bytes are void. `between` runs after each step
// of the copy; false ends it.
func (m *Mapping) CopyOut(record Record, into []byte, verify bool, between func() bool) (bool, error) {
	if err := m.check(record); err != nil {
		return false, err
	}
	if !m.current(record) {
		return false, nil
	}
	sum, known := m.SumOf(record.Slot)
	from := m.data[uint64(record.Slot)*m.region.SlotBytes:][:record.Length]
	for at := 0; at < len(from); at += copyStep {
		copy(into[at:], from[at:min(at+copyStep, len(from))])
		if between != nil && !between() {
			return false, nil
		}
	}
	fence.Add(1)
	if !m.current(record) {
		return false, nil
	}
	if verify && known && CRC32C(into[:record.Length]) != sum {
		return false, nil
	}
	return true, nil
}

// CopyIn writes the bytes of a granted slot.
func (m *Mapping) CopyIn(record Record, object []byte) error {
	if err := m.check(record); err != nil {
		return err
	}
	if uint64(len(object)) != record.Length {
		return fmt.Errorf("%d bytes for a slot that was reserved for %d", len(object), record.Length)
	}
	if !m.current(record) {
		return fmt.Errorf("slot %d is not ours any more", record.Slot)
	}
	if m.writable == nil {
		file, err := os.OpenFile(m.dataPath, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		const access = syscall.PROT_READ | syscall.PROT_WRITE
		m.writable, err = syscall.Mmap(int(file.Fd()), 0, len(m.data), access, syscall.MAP_SHARED)
		if err != nil {
			return err
		}
	}
	copy(m.writable[uint64(record.Slot)*m.region.SlotBytes:], object)
	return nil
}
