package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.ObjectId;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LL_Result;

/** An engine that sees the stamp of a commit sees all that was committed: the object's bytes and its whole header. */
@JCStressTest
@Outcome(id = "not committed, -", expect = Expect.ACCEPTABLE, desc = "The engine came before the commit.")
@Outcome(id = "committed, all", expect = Expect.ACCEPTABLE, desc = "The engine came after the commit.")
@Outcome(expect = Expect.FORBIDDEN, desc = "A committed object without its bytes or its header.")
@State
public class CommitStress extends StressedTable {
    private static final long GENERATION = 4;

    @SuppressWarnings("this-escape")
    public CommitStress() {
        node.setStamp(slot, HeaderTable.stamp(2, HeaderTable.FREE));
        write(OLD);
    }

    @Actor
    public void node() {
        commit(NEW, GENERATION);
    }

    @Actor
    public void engine(final LL_Result result) {
        final long stamp = engine.stamp(slot);
        if (HeaderTable.state(stamp) != HeaderTable.COMMITTED) {
            result.r1 = "not committed";
            result.r2 = "-";
            return;
        }
        final boolean all = copy() == NEW
                && engine.length(slot) == NEW
                && engine.id(slot).equals(new ObjectId(hash(NEW), hash(NEW), SHARD))
                && engine.isSound(slot, GENERATION);
        result.r1 = "committed";
        result.r2 = all ? "all" : "in part";
    }
}
