"""What the demo, the lab and the benchmarks share: engine stand-ins that replay a trace and check every byte."""
