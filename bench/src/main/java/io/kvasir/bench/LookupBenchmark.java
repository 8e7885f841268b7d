package io.kvasir.bench;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** Lookups of chains of 512 keys in a store of 65,536 objects, another chain each time; times are for a key. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class LookupBenchmark {
    private static final int OBJECTS = 65_536;
    private static final int KEYS = BenchStore.CHAIN;
    private static final int[] ALL_SHARDS = {};

    /** Shards of a chunk: what one key stands for. */
    @Param({"1", "8"})
    public int shards;

    private BenchStore bench;
    private LookupQuery[] peeks;
    private LookupQuery[] leases;
    private int next;

    @Setup
    public void fill() {
        bench = new BenchStore(shards, 2L * OBJECTS * BenchStore.OBJECT_BYTES);
        bench.fill(OBJECTS / shards);
        peeks = new LookupQuery[OBJECTS / shards / KEYS];
        leases = new LookupQuery[peeks.length];
        for (int i = 0; i < peeks.length; i++) {
            final byte[] keys = BenchStore.keys((long) i * KEYS, KEYS);
            peeks[i] = BenchStore.query(keys, true);
            leases[i] = BenchStore.query(keys, false);
        }
    }

    @TearDown
    public void close() {
        bench.close();
    }

    /** Finds out what is there, and answers with its slots. */
    @Benchmark
    @OperationsPerInvocation(KEYS)
    public LookupAnswer plan() {
        next = (next + 1) % peeks.length;
        return hits(bench.store.engines().lookup(bench.holder, peeks[next]));
    }

    /** The same with a lease, which is released. */
    @Benchmark
    @OperationsPerInvocation(KEYS)
    public LookupAnswer lease() {
        next = (next + 1) % leases.length;
        final LookupAnswer found = hits(bench.store.engines().lookup(bench.holder, leases[next]));
        bench.store.engines().release(bench.holder, found.lease(), ALL_SHARDS);
        return found;
    }

    private static LookupAnswer hits(final LookupAnswer found) {
        if (found.hitChunks() != KEYS) {
            throw new IllegalStateException(found.hitChunks() + " of " + KEYS + " chunks are hits");
        }
        return found;
    }
}
