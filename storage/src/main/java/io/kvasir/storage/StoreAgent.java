package io.kvasir.storage;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.catalog.Remembered;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.index.SipHash;
import io.kvasir.storage.integrity.Verifier;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lease.TimerWheel;
import io.kvasir.storage.lookup.LookupTask;
import io.kvasir.storage.lookup.Lookups;
import io.kvasir.storage.lookup.Waiters;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.AddressableTiers;
import io.kvasir.storage.tier.Tier;
import io.kvasir.storage.tier.dram.Attachments;
import io.kvasir.storage.tier.dram.DramContext;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.TenantArena;
import io.kvasir.storage.tier.remote.RemoteShelf;
import io.kvasir.storage.tier.ssd.SsdAccounts;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.agrona.concurrent.Agent;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One node's objects in all tiers of this machine. One thread owns it: every method, {@link #doWork()} included, is
 * called by that thread; slow work runs elsewhere and comes back through {@link #doWork()}.
 */
public final class StoreAgent implements Agent, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(StoreAgent.class);
    private static final long PROBE_NS = 100_000_000;
    private static final long ROOM_NS = 50_000_000;
    private static final int COMPLETIONS_AT_ONCE = 256;
    private static final int TIMERS_AT_ONCE = 256;
    private static final int RELEASED_AT_ONCE = 2048;
    private static final long CLOSE_NS = 5_000_000_000L;
    /** What the catalog has at least to write what is queued when the node stops. */
    private static final long FLUSH_NS = 100_000_000;

    private final StoreContext context;
    private final StorageCounters counters = new StorageCounters();
    private final Queue<Runnable> completions = new ConcurrentLinkedQueue<>();
    private final Waiters waiters = new Waiters();
    private final Verifier verifier;
    private final ObjectTable table;
    private final TenantAccounts accounts;
    private final SsdAccounts ssdAccounts;
    private final DramTier dram;
    private final Mover mover;
    private final SsdShelf ssd;
    /** Above DRAM; null: there is none. */
    private final AddressableTier device;

    private final SecondCopies copies;
    /** From which lookups fetch, the fastest first. */
    private final List<Tier> tiers = new ArrayList<>();
    /** Null on a node alone. */
    private final RemoteShelf remote;

    private final Lending lending;
    private final Arrivals arrivals;
    private final ColdestFirst coldest;
    private final TierEvents tierEvents;
    /** Deadlines of leases, reservations and moves. */
    private final TimerWheel timers;

    private final LeaseTable leases;
    private final Lookups lookups;
    private final Reservations reservations;
    private final Pins pins;
    private final Remembered remembered;
    private final Events events = new Events(this::tenantNameOf, counters);
    private final EngineStore engines;
    private final PeerStore peers;
    private final AdminStore admin;
    private long nextProbeNs;
    private long nextRoomNs;
    private boolean closed;

    /** Opens the arena and indexes what an earlier node left there; the SSD tier warms up in the background. */
    public StoreAgent(final StoreContext context) {
        this.context = context.conclude();
        timers = new TimerWheel(context.nanoClock().nanoTime());
        accounts = new TenantAccounts(context.tenantShares(), context.dramCapacity(), context.regionBytes());
        table = new ObjectTable(context.mostObjects(), new SipHash(context.random()));
        tierEvents = new TierEvents(table, context.holdings(), events, waiters, context.clock());
        dram = openDram(new DramContext(
                context.dramDirectory(),
                context.dramCapacity(),
                context.regionBytes(),
                context.reserveQuotaBytes(),
                accounts,
                context.policy(),
                this::isDurable,
                () -> context.ssd() != null,
                this::mayDropUndemoted,
                context.copyGivesWay(),
                tierEvents,
                new ArenaEvents(),
                this::execute,
                context.clock(),
                context.random(),
                context.worker("kvasir-region-allocator"),
                counters));
        verifier = new Verifier(
                dram,
                counters,
                context.worker("kvasir-checksums"),
                this::execute,
                context.nanoClock().nanoTime());
        ssdAccounts = new SsdAccounts(accounts, this::tenantNameOf, this::belongs);
        mover = new Mover(timers, context.budgets());
        ssd = new SsdShelf(table, dram, mover, counters, tierEvents, ssdAccounts, context.nanoClock());
        device = context.device() == null ? null : context.device().apply(table, tierEvents);
        final AddressableTiers slots = device == null ? new AddressableTiers(dram) : new AddressableTiers(dram, device);
        copies = new SecondCopies(
                table,
                dram,
                device,
                mover,
                device == null ? null : context.worker("kvasir-second-copies"),
                this::execute,
                verifier::verifyNow);
        leases = new LeaseTable(
                slots,
                StoreLimits.leasedCells(context.dramCapacity()),
                context.leasableBytes(),
                context.leaseQuotaBytes(),
                context.random().nextLong(),
                timers,
                context.worker("kvasir-copy-marks"),
                this::execute,
                context.nanoClock());
        if (context.ssd() != null) {
            tiers.add(ssd);
        }
        if (context.remote() != null) {
            remote = new RemoteShelf(table, mover, context.remote(), waiters, context.nanoClock(), counters);
            tiers.add(remote);
        } else {
            remote = null;
        }
        lending = new Lending(dram, ssd, verifier::verifyNow, this::arena, this::execute);
        arrivals = new Arrivals(dram, ssd, context.nanoClock(), counters);
        coldest = new ColdestFirst(dram, ssd);
        final Uses uses = new Uses(slots, dram, ssd, copies, arrivals);
        lookups = new Lookups(
                () -> new LookupTask(
                        table,
                        slots,
                        tiers,
                        leases,
                        waiters,
                        verifier::verifyNow,
                        uses,
                        context.nanoClock(),
                        context::leaseNs),
                slots,
                leases,
                context.nanoClock(),
                context::leaseNs,
                counters);
        reservations = new Reservations(slots, dram, ssd, verifier, leases, context, counters);
        remembered = new Remembered(
                context.catalogDirectory(),
                context.catalogDirectory() == null ? null : context.worker("kvasir-catalog"),
                this::execute,
                counters,
                this::namespacesFound,
                this::pinsFound);
        tierEvents.open(remembered, copies);
        pins = new Pins(dram, remembered, context.leaseQuotaBytes());
        engines = new EngineStore(
                this,
                context.clock(),
                counters,
                accounts,
                slots,
                dram,
                leases,
                lookups,
                reservations,
                waiters,
                pins,
                remembered,
                ssdAccounts,
                events);
        peers = new PeerStore(
                this,
                context.nanoClock(),
                mover,
                dram,
                ssd,
                lending,
                arrivals,
                coldest,
                verifier,
                waiters,
                this::arena);
        admin = new AdminStore(counters, accounts, table, dram, ssd, mover, leases, waiters, ssdAccounts);
        try {
            if (context.ssd() != null) {
                ssd.open(SsdTier.open(context.ssd()
                        .ids(table.ids())
                        .completions(this::execute)
                        .listener(ssd)
                        .shares(context.tenantShares())
                        .clock(context.javaClock())));
            }
        } catch (final RuntimeException failure) {
            remembered.close(CLOSE_NS);
            copies.close();
            if (device != null) {
                device.close();
            }
            verifier.close();
            dram.close();
            leases.close();
            table.close();
            throw failure;
        }
        arrivals.adopted(tierEvents);
    }

    private DramTier openDram(final DramContext dramContext) {
        try {
            return new DramTier(dramContext, table);
        } catch (final RuntimeException failure) {
            table.close();
            throw failure;
        }
    }

    /** What the engine server calls. */
    public EngineStore engines() {
        return engines;
    }

    /** What the cluster calls. */
    public PeerStore peers() {
        return peers;
    }

    /** What metrics and operations call. */
    public AdminStore admin() {
        return admin;
    }

    private TenantArena arena(final Hash256 namespace) {
        final String name = remembered.tenantOf(namespace);
        return name == null ? null : dram.tenant(name);
    }

    // ---- what the parts tell each other

    private void pinsFound(final List<Remembered.KeptPin> kept) {
        pins.restore(kept, context.clock().time());
    }

    private String tenantNameOf(final Hash256 namespace) {
        return remembered == null ? null : remembered.tenantOf(namespace);
    }

    private void belongs(final Hash256 namespace, final String tenant) {
        ssd.tier().belongs(namespace, tenant);
    }

    private void namespacesFound() {
        ssdAccounts.namespacesFound();
        events.tellUntold();
    }

    private boolean mayDropUndemoted() {
        return context.ssd() == null
                || ssd == null
                || ssd.demotions().isStalled(context.nanoClock().nanoTime());
    }

    private boolean isDurable(final int object) {
        return table.isIn(object, TierKind.SSD);
    }

    /** What the DRAM tier tells of engines and regions. */
    private final class ArenaEvents implements DramContext.Listener {
        @Override
        public void pinnedIsGone(final int entry) {
            pins.forget(entry);
        }

        @Override
        public void regionRetired(final int region) {
            events.regionRetired(region);
        }

        @Override
        public void processEnded(final Attachments.Entry attachment) {
            events.processEnded(attachment);
        }

        @Override
        public void attachmentEnded(final long attachment) {
            if (leases != null) {
                leases.attachmentEnded(attachment);
            }
        }
    }

    // ---- life

    /** Runs it on the owner's thread, from {@link #doWork()}; from any thread. */
    public void execute(final Runnable completion) {
        completions.add(completion);
        context.wakeup().run();
    }

    @Override
    public int doWork() {
        int done = 0;
        Runnable completion;
        while (done < COMPLETIONS_AT_ONCE && (completion = completions.poll()) != null) {
            completion.run();
            done++;
        }
        final long nowNs = context.nanoClock().nanoTime();
        if (nowNs - nextProbeNs >= 0) {
            nextProbeNs = nowNs + PROBE_NS;
            dram.probeAttachments();
            pins.expire(context.clock().time());
        }
        if (nowNs - nextRoomNs >= 0) {
            // Who waits for room asks again even when none was made: only the asking tells that waiting is in vain.
            nextRoomNs = nowNs + ROOM_NS;
            waiters.roomMade();
        }
        done += timers.poll(nowNs, TIMERS_AT_ONCE);
        done += leases.doWork(RELEASED_AT_ONCE);
        done += lookups.doWork();
        done += dram.poll() ? 1 : 0;
        done += ssd.doWork(nowNs);
        done += verifier.doWork(nowNs);
        done += lending.doWork(nowNs);
        done += arrivals.doWork(nowNs);
        if (remote != null) {
            done += remote.doWork() + context.remote().doWork(nowNs);
        }
        done += waiters.run();
        return done;
    }

    @Override
    public String roleName() {
        return "object-store";
    }

    /** True once the engine API can be served: DRAM is indexed. {@link AdminStore#describe} says what is still warming. */
    public boolean isReady() {
        return !closed;
    }

    /** Deadlines of leases, reservations and moves. */
    int deadlines() {
        return timers.size();
    }

    DramTier dram() {
        return dram;
    }

    SsdShelf ssdShelf() {
        return ssd;
    }

    /** Finishes or aborts what is in flight within {@code boundNs}, flushes, releases the locks. */
    public void shutdown(final long boundNs) {
        if (closed) {
            return;
        }
        closed = true;
        final long endNs = System.nanoTime() + boundNs;
        mover.close();
        final boolean stopped = ssd.tier() == null || ssd.tier().close(Math.max(1, boundNs));
        verifier.close();
        copies.close();
        Runnable completion;
        while ((completion = completions.poll()) != null) {
            completion.run();
        }
        remembered.close(Math.max(FLUSH_NS, endNs - System.nanoTime()));
        if (device != null) {
            device.close();
        }
        if (stopped) {
            dram.close();
            leases.close();
            table.close();
        } else {
            // The device may still write into a slot: the mapping stays until the process ends, and the slot is
            // reserved by the node, so the next start frees it.
            LOG.warn("the SSD did not finish in time; the arena stays mapped until this process ends");
        }
    }

    @Override
    public void close() {
        shutdown(CLOSE_NS);
    }
}
