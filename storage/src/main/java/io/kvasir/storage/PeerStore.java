package io.kvasir.storage;

import io.kvasir.storage.integrity.Verifier;
import io.kvasir.storage.lookup.Waiters;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.TenantArena;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import org.agrona.concurrent.NanoClock;

/**
 * The store as other nodes see it: what the cluster calls, on the owner's thread, but for {@link #execute}. Part of
 * {@link StoreAgent}.
 */
public final class PeerStore {
    private final StoreAgent agent;
    private final NanoClock nanoClock;
    private final Mover mover;
    private final DramTier dram;
    private final SsdShelf ssd;
    private final Lending lending;
    private final Arrivals arrivals;
    private final ColdestFirst coldest;
    private final Verifier verifier;
    private final Waiters waiters;
    private final Function<Hash256, TenantArena> tenants;

    PeerStore(
            final StoreAgent agent,
            final NanoClock nanoClock,
            final Mover mover,
            final DramTier dram,
            final SsdShelf ssd,
            final Lending lending,
            final Arrivals arrivals,
            final ColdestFirst coldest,
            final Verifier verifier,
            final Waiters waiters,
            final Function<Hash256, TenantArena> tenants) {
        this.agent = agent;
        this.nanoClock = nanoClock;
        this.mover = mover;
        this.dram = dram;
        this.ssd = ssd;
        this.lending = lending;
        this.arrivals = arrivals;
        this.coldest = coldest;
        this.verifier = verifier;
        this.waiters = waiters;
        this.tenants = tenants;
    }

    /** Runs it on the owner's thread; from any thread. */
    public void execute(final Runnable task) {
        agent.execute(task);
    }

    // ---- objects that come and go

    /** Says when what goes to other nodes, or comes from them, may begin. */
    public Mover mover() {
        return mover;
    }

    /**
     * Holds an object for another node. Answers once, on the owner's thread: null when it is not here, or could not be
     * brought to DRAM and verified before the deadline.
     *
     * @param priority of its promotion, when it is on SSD: whether somebody waits for it
     * @param deadlineNs by the context's nano clock
     */
    public void lend(
            final ObjectId id, final MovePriority priority, final long deadlineNs, final Consumer<Lent> answer) {
        lending.lend(id, priority, deadlineNs, answer, nanoClock.nanoTime());
    }

    /** Another node loads these, parents before children: here they count as used, as if an engine of this node did. */
    public void usedElsewhere(final List<ObjectId> chain) {
        for (int i = chain.size() - 1; i >= 0; i--) {
            final ObjectId id = chain.get(i);
            final int entry = dram.find(id.namespace(), id.key(), id.shard());
            if (entry != DramTier.NONE && !dram.isWriting(entry) && !dram.isCondemned(entry)) {
                dram.touch(entry);
                ssd.used(dram.object(entry));
            }
        }
    }

    /**
     * A slot for an object that another node sends.
     *
     * @param copy its sender keeps it too: it gives way first here
     * @param mayEvict false: only room that nobody has, or that what is elsewhere too has while the SSD has room below
     */
    public Reception receive(
            final Tenant tenant,
            final ObjectId id,
            final StoredObject object,
            final boolean copy,
            final boolean mayEvict) {
        return arrivals.receive((TenantArena) tenant, id, object, copy, mayEvict);
    }

    /** Runs {@code wake} once when room was made. */
    public void whenRoom(final Runnable wake) {
        waiters.awaitRoom(0, wake);
    }

    /** The tenant of a namespace, when it has attached to this node; else null. */
    public Tenant tenantOf(final Hash256 namespace) {
        return tenants.apply(namespace);
    }

    /** Somebody got bytes of this object that do not fit its checksum: sums it, and drops it when that is so here. */
    public void suspect(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        if (entry != DramTier.NONE && dram.isReadable(entry)) {
            verifier.verifyNow(entry);
        }
    }

    // ---- what is here

    /** True when it is in DRAM or on SSD. */
    public boolean holds(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        return (entry != DramTier.NONE && !dram.isWriting(entry)) || ssd.has(id);
    }

    /** Bytes of an object that is in DRAM or on SSD; 0 for another. */
    public long bytesOf(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        return entry != DramTier.NONE ? dram.length(entry) : ssd.length(ssd.find(id));
    }

    /** Objects in DRAM, the one used last first. */
    public void eachByHeat(final Consumer<ObjectId> each) {
        arrivals.eachByHeat(each);
    }

    /** Objects on SSD and not in DRAM, the one used last first; at most 65,536 of them. */
    public void eachOnSsdOnly(final Consumer<ObjectId> each) {
        ssd.eachByHeat(id -> {
            if (dram.find(id.namespace(), id.key(), id.shard()) == DramTier.NONE) {
                each.accept(id);
            }
        });
    }

    /**
     * Objects on SSD and not in DRAM, in no order, a few in each call.
     *
     * @param from 0, or what the call before returned
     * @return where to go on; below 0: that was all
     */
    public int nextOnSsdOnly(final int from, final Consumer<ObjectId> each) {
        return ssd.nextWithoutDram(from, each);
    }

    /**
     * The next few of those objects that leave DRAM first and are not on SSD; call after call goes on, until the objects
     * that were passed make {@code withinBytes}.
     *
     * @return false: that is all, and the next call begins anew
     */
    public boolean nextToLeave(final long withinBytes, final Consumer<Leaving> each) {
        return coldest.next(withinBytes, each);
    }

    /** True while what leaves DRAM gets to the SSD before. */
    public boolean isSavedToSsd() {
        return ssd.demotions().keepsUp(nanoClock.nanoTime());
    }

    // ---- copies elsewhere

    /**
     * Says whether another holder has the object's bytes too, so that its copy in DRAM gives way before what is no copy.
     * Every object starts as none. False when it is not in DRAM.
     */
    public boolean copied(final ObjectId id, final boolean copied) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        final boolean here = entry != DramTier.NONE && !dram.isWriting(entry);
        if (here) {
            dram.copied(entry, copied);
        }
        return here;
    }

    /** A node that had copies is gone: until more is known, nothing here counts as one. */
    public void forgetCopies() {
        arrivals.forgetCopies();
    }
}
