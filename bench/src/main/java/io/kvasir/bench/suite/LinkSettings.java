package io.kvasir.bench.suite;

/** What the link and raw Aeron have in common in one run. */
record LinkSettings(int mtu, int termLength, int window) {}
