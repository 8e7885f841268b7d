package io.kvasir.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** Stores of 64 new objects of 4 KiB into a DRAM of 65,536 that is full of chains; times are for an object. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class StoreBenchmark {
    private static final int OBJECTS = 65_536;
    private static final int BATCH = 64;

    private BenchStore bench;
    private byte[] keys;
    private long next = OBJECTS;

    @Setup
    public void fill() {
        bench = new BenchStore(1, (long) OBJECTS * BenchStore.OBJECT_BYTES);
        bench.fill(OBJECTS);
        keys = BenchStore.keys(next, BATCH);
    }

    @TearDown
    public void close() {
        bench.close();
    }

    /** Each batch continues no chain and evicts as many objects as it stores. */
    @Benchmark
    @OperationsPerInvocation(BATCH)
    public int reserveAndCommit() {
        final byte[] batch = BenchStore.keys(next, BATCH);
        next += BATCH;
        bench.store(0, batch, BenchStore.parents(batch));
        return bench.store.doWork();
    }

    /** The first batch evicts; from then on its slots are free. */
    @Benchmark
    @OperationsPerInvocation(BATCH)
    public int reserveAndAbort() {
        bench.reserveAndAbort(keys);
        return bench.store.doWork();
    }
}
