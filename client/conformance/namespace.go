package conformance

import (
	"encoding/binary"
	"sort"

	"lukechampine.com/blake3"

	enginev1 "kvasir/engine/v1"
)

// NamespaceID hashes the fields in the order of the page's last section.
func NamespaceID(tenant string, namespace *enginev1.Namespace) [32]byte {
	hasher := blake3.New(32, nil)
	field := func(name string, value []byte) {
		for _, part := range [][]byte{[]byte(name), value} {
			hasher.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(part))))
			hasher.Write(part)
		}
	}
	text := func(name, value string) { field(name, []byte(value)) }
	number := func(name string, value uint64) { field(name, binary.LittleEndian.AppendUint64(nil, value)) }
	text("tenant", tenant)
	text("model", namespace.Model)
	field("weights_digest", namespace.WeightsDigest)
	text("hash_algorithm", namespace.HashAlgorithm)
	text("hash_seed", namespace.HashSeed)
	text("kv_dtype", namespace.KvDtype)
	text("quantization", namespace.Quantization)
	text("layout", namespace.Layout)
	number("chunk_tokens", uint64(namespace.ChunkTokens))
	text("lora", namespace.Lora)
	number("generation", namespace.Generation)
	names := make([]string, 0, len(namespace.Extra))
	for name := range namespace.Extra {
		names = append(names, name)
	}
	// Go compares strings by their bytes, unsigned.
	sort.Strings(names)
	for _, name := range names {
		text("extra."+name, namespace.Extra[name])
	}
	return [32]byte(hasher.Sum(nil))
}
