package io.kvasir.storage.tier.dram;

import java.lang.invoke.VarHandle;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LL_Result;

/**
 * A slot is given to another object while an engine copies without a lease. The engine looks at the stamp before and after
 * its copy, as {@code _copy.load} in the client does, and keeps the copy only when both are those of its slot record.
 */
@JCStressTest
@Outcome(id = "kept, old", expect = Expect.ACCEPTABLE, desc = "The copy was made in time.")
@Outcome(id = "refused, -", expect = Expect.ACCEPTABLE, desc = "The stamp told that the slot was given away.")
@Outcome(expect = Expect.FORBIDDEN, desc = "Bytes of another object, or a mixture, were kept.")
@State
public class ReuseStress extends StressedTable {
    @SuppressWarnings("this-escape")
    public ReuseStress() {
        commit(OLD, OLD_GENERATION);
    }

    @Actor
    public void node() {
        node.setStamp(slot, HeaderTable.stamp(OLD_GENERATION + 2, HeaderTable.FREE));
        commit(NEW, OLD_GENERATION + 4);
    }

    @Actor
    public void engine(final LL_Result result) {
        boolean kept = engine.stamp(slot) == OLD_STAMP;
        final long copied = copy();
        // The client's copy is a call of memcpy: it is over before the second look.
        VarHandle.acquireFence();
        kept &= engine.stamp(slot) == OLD_STAMP;
        result.r1 = kept ? "kept" : "refused";
        result.r2 = !kept ? "-" : copied == OLD ? "old" : copied == NEW ? "new" : "mixed";
    }
}
