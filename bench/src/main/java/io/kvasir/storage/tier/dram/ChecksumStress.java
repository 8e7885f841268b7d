package io.kvasir.storage.tier.dram;

import java.lang.invoke.VarHandle;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LL_Result;

/**
 * A checksum that comes after the commit, and a slot that is given away with its checksum: between two looks at the same
 * stamp an engine reads no checksum, or the whole one of its object.
 */
@JCStressTest
@Outcome(id = "kept, none", expect = Expect.ACCEPTABLE, desc = "Not summed yet: the engine does without.")
@Outcome(id = "kept, own", expect = Expect.ACCEPTABLE, desc = "The object's own checksum.")
@Outcome(id = "refused, -", expect = Expect.ACCEPTABLE, desc = "The stamp told that the slot was given away.")
@Outcome(expect = Expect.FORBIDDEN, desc = "Another checksum was taken for the object's.")
@State
public class ChecksumStress extends StressedTable {
    private static final int OWN = 0x7eef_1234;
    private static final int OTHERS = 0x0bad_cafe;

    @SuppressWarnings("this-escape")
    public ChecksumStress() {
        commit(OLD, OLD_GENERATION);
    }

    @Actor
    public void node() {
        node.setCrc32c(slot, OWN);
        node.setStamp(slot, HeaderTable.stamp(OLD_GENERATION + 2, HeaderTable.FREE));
        commit(NEW, OLD_GENERATION + 4);
        node.setCrc32c(slot, OTHERS);
    }

    @Actor
    public void engine(final LL_Result result) {
        boolean kept = engine.stamp(slot) == OLD_STAMP;
        final boolean summed = engine.isSummed(slot);
        final int crc = engine.crc32c(slot);
        VarHandle.acquireFence();
        kept &= engine.stamp(slot) == OLD_STAMP;
        result.r1 = kept ? "kept" : "refused";
        result.r2 = !kept ? "-" : !summed ? "none" : crc == OWN ? "own" : "another";
    }
}
