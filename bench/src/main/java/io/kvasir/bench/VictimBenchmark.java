package io.kvasir.bench;

import io.kvasir.storage.policy.Chains;
import io.kvasir.storage.policy.CopiesFirst;
import io.kvasir.storage.policy.PolicyKind;
import io.kvasir.storage.policy.VictimSearch;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** The choice of one entry to evict out of 65,536 that form chains, and the entry of a new object in its place. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class VictimBenchmark {
    private static final int ENTRIES = 65_536;
    private static final int CHAIN = 64;

    /** BEST: the first that can go is taken, as where all objects have one size. FITS: 64 are weighed. */
    @Param({"BEST", "FITS"})
    public VictimSearch.Verdict verdict;

    private final CopiesFirst policy = new CopiesFirst(PolicyKind.STANDARD.create());
    private final Chains chains = new Chains();
    private final VictimSearch search = new VictimSearch(policy, chains);
    private final SplittableRandom random = new SplittableRandom(1);
    private int last;
    private int inChain;

    @Setup
    public void fill() {
        for (int entry = 0; entry < ENTRIES; entry++) {
            add(entry);
        }
    }

    private void add(final int entry) {
        chains.add(entry);
        policy.add(entry, random.nextLong(), BenchStore.OBJECT_BYTES, inChain, 0);
        if (inChain > 0 && entry != last) {
            chains.link(entry, last);
            policy.extended(last);
        }
        last = entry;
        inChain = (inChain + 1) % CHAIN;
    }

    @Benchmark
    public int victim() {
        search.budget(Integer.MAX_VALUE);
        final int entry = search.find(ignored -> verdict, () -> true);
        policy.remove(entry);
        chains.remove(entry);
        add(entry);
        return entry;
    }
}
