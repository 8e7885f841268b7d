package io.kvasir.storage.tier;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;

/** Hears what a node holds; the directory of a cluster is made of it. Called on the owner's thread. */
public interface Holdings {
    /** Nobody listens. */
    Holdings NONE = new Holdings() {
        @Override
        public void held(
                final ObjectId id,
                final TierKind tier,
                final long length,
                final Hash256 parent,
                final int chunkIndex) {}

        @Override
        public void gone(final ObjectId id, final TierKind tier) {}

        @Override
        public void lost(final TierKind tier) {}
    };

    /**
     * An object is readable in a tier. May be said again of one that is known. Of what the SSD had when the store was opened
     * parents come first.
     *
     * @param parent {@link Hash256#ZERO} for the first of a chain, and where it is not known
     * @param chunkIndex -1: not known
     */
    void held(ObjectId id, TierKind tier, long length, Hash256 parent, int chunkIndex);

    /** It is not in that tier any more. */
    void gone(ObjectId id, TierKind tier);

    /** The tier is out of use: nothing is in it any more. */
    void lost(TierKind tier);
}
