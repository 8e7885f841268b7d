package io.kvasir.storage.tier;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import java.util.List;

/** The objects of one lookup, for a tier that has to be asked what it has: chunks x shards, a cell each, chunk-major. */
public interface Question {
    Hash256 namespace();

    /** n x 32 bytes, at least one for each chunk. */
    byte[] keys();

    List<Shard> shards();

    /** Leading chunks that the lookup has looked at. */
    int chunks();

    /** Each chunk is wanted on its own; else only what has no gap before it. */
    boolean sparse();

    /** Whether the lookup would have this cell from that tier, as far as it knows. */
    boolean isOn(TierKind tier, int cell);

    /** The object of a cell; the next call changes it. */
    ObjectRef at(int cell);
}
