package io.kvasir.bench;

import io.kvasir.storage.object.ObjectId;
import java.util.SplittableRandom;
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

/**
 * Whether an object is there, for objects in random order in a store of 65,536; and what limits it: a read of memory that
 * depends on the read before. Times are for an object.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class ProbeBenchmark {
    private static final int OBJECTS = 65_536;
    private static final int PROBES = 512;
    /** More than a cache holds: 64 MiB. */
    private static final int LIMIT_INTS = 1 << 24;

    private BenchStore bench;
    private final ObjectId[] there = new ObjectId[OBJECTS];
    private final ObjectId[] absent = new ObjectId[OBJECTS];
    private final int[] cycle = new int[LIMIT_INTS];
    private int next;
    private int at;

    @Setup
    public void fill() {
        bench = new BenchStore(1, 2L * OBJECTS * BenchStore.OBJECT_BYTES);
        bench.fill(OBJECTS);
        final SplittableRandom random = new SplittableRandom(1);
        final int[] order = shuffled(OBJECTS, random);
        for (int i = 0; i < OBJECTS; i++) {
            there[i] = BenchStore.id(order[i]);
            absent[i] = BenchStore.id(order[i] + (long) OBJECTS);
        }
        final int[] places = shuffled(LIMIT_INTS, random);
        for (int i = 0; i < LIMIT_INTS; i++) {
            cycle[places[i]] = places[(i + 1) % LIMIT_INTS];
        }
    }

    private static int[] shuffled(final int count, final SplittableRandom random) {
        final int[] order = new int[count];
        for (int i = 0; i < count; i++) {
            final int other = random.nextInt(i + 1);
            order[i] = order[other];
            order[other] = i;
        }
        return order;
    }

    @TearDown
    public void close() {
        bench.close();
    }

    @Benchmark
    @OperationsPerInvocation(PROBES)
    public int hit() {
        return probe(there, PROBES);
    }

    @Benchmark
    @OperationsPerInvocation(PROBES)
    public int miss() {
        return probe(absent, 0);
    }

    @Benchmark
    @OperationsPerInvocation(PROBES)
    public int memory() {
        for (int i = 0; i < PROBES; i++) {
            at = cycle[at];
        }
        return at;
    }

    private int probe(final ObjectId[] ids, final int expected) {
        int found = 0;
        for (int i = 0; i < PROBES; i++) {
            found += bench.store.peers().holds(ids[next + i]) ? 1 : 0;
        }
        next = (next + PROBES) % OBJECTS;
        if (found != expected) {
            throw new IllegalStateException(found + " of " + PROBES + " objects are there, not " + expected);
        }
        return found;
    }
}
