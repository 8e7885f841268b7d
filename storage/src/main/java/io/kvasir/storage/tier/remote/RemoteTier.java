package io.kvasir.storage.tier.remote;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.tenant.Tenant;
import java.util.List;

/**
 * What other nodes hold, seen from a store. Its owner's thread calls it; no call waits, and answers come on that thread
 * too. What a node's cluster implements; a node alone has none.
 */
public interface RemoteTier {
    /** Who has one object, or could; made by {@link #locate}, and nobody's business here. */
    interface Copies {
        /** Bytes of the object, as far as is known. */
        long bytes();
    }

    /** Hears the answer of one {@link #locate}. */
    interface Finding {
        void found(int chunk, int shard, Copies copies);

        /**
         * Nothing more comes.
         *
         * @param complete false: what was not found may be there all the same
         */
        void done(boolean complete);
    }

    /** One object of a pull. */
    interface Wanted {
        ObjectId id();

        Copies copies();

        /**
         * The pull of this object is over. True: its bytes were received and committed, or it was
         * here already.
         */
        void ended(boolean here);
    }

    /** False while no other node can have anything; nothing is asked then. */
    boolean isOpen();

    /**
     * Asks who has the objects of a chain, within a deadline of the tier's own.
     *
     * @param keys n x 32 bytes
     * @param from first chunk that is wanted
     * @param sparse each chunk is wanted on its own; else only what has no gap before it
     */
    void locate(Hash256 namespace, byte[] keys, int from, List<Shard> shards, boolean sparse, Finding finding);

    /** Expected time until an object that is asked for now is here, behind what is on its way already. */
    long expectedNs(Copies copies);

    /** Starts to pull these; each ends, at the latest at the tier's own deadline. */
    void pull(Tenant tenant, List<? extends Wanted> objects);

    /** Called every duty cycle; returns the work done. */
    int doWork(long nowNs);
}
