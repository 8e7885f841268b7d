// A second client of the engine API, written from docs/engine-api.md and engine.proto, not from the Python client, as the test of both.
module kvasir

go 1.24

require (
	google.golang.org/protobuf v1.36.11
	lukechampine.com/blake3 v1.4.1
)

require github.com/klauspost/cpuid/v2 v2.0.9 // indirect
