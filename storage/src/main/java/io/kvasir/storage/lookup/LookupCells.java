package io.kvasir.storage.lookup;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lease.SessionHolder;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.HitRule;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.AddressableTiers;
import io.kvasir.storage.tier.ObjectRef;
import io.kvasir.storage.tier.Question;
import io.kvasir.storage.tier.Tier;
import java.util.List;

/**
 * The cells of one lookup: finds out in which tier each is, and what it costs. Chunk-major by the session's shards. The
 * arrays are longer than the cells, and the next look overwrites them. Owned by {@link LookupTask}.
 */
public final class LookupCells implements Costs, Question {
    private static final int PROBED_AT_ONCE = 512;

    final Presence presence = new Presence();
    /** As {@link AddressableTiers} numbers them; its NONE where nothing is addressable. */
    int[] entries = {};

    /** By which the table is searched. */
    private long[] hashes = {};

    int chunks;
    int shards;
    /** Chunks that were looked at: what lies behind a gap was not, and is a miss. */
    int looked;

    private final ObjectTable table;
    private final AddressableTiers slots;
    private final List<Tier> tiers;
    /** By their codes. */
    private final Tier[] byCode = new Tier[TierKind.values().length + 1];

    private final LeaseTable leases;
    private final Cell ref = new Cell();
    private SessionHolder holder;
    private Hash256 namespace;
    private byte[] keys;
    private List<Shard> parts;
    private boolean sparse;
    private boolean asks;
    private boolean keeps;
    private boolean onlyMain;
    private long nowNs;
    /** Of each entry, as it was found. */
    private int[] serials = {};

    /** Entries of the table, as they were found; since {@link #removals} another object may have got one. */
    private int[] objects = {};

    private long removals;

    private int[] held = {};
    private int heldCount;
    private int probed;
    /** Chunks that are to be looked at. */
    private int limit;

    private int unknown;
    /** Of each tier at the beginning of this look: what it starts itself is not what its transfers wait for. */
    private final long[] busyNs = new long[byCode.length];

    /** @param tiers from which objects are fetched, the fastest first */
    LookupCells(
            final ObjectTable table, final AddressableTiers slots, final List<Tier> tiers, final LeaseTable leases) {
        this.table = table;
        this.slots = slots;
        this.tiers = tiers;
        this.leases = leases;
        tiers.forEach(tier -> byCode[tier.kind().code()] = tier);
    }

    private final class Cell implements ObjectRef {
        private int cell;

        @Override
        public int object() {
            if (objects[cell] >= 0 && table.removals() != removals) {
                objects[cell] = table.confirm(objects[cell], hashes[cell], namespace, key(), shard());
            }
            return objects[cell];
        }

        @Override
        public int enter() {
            final int known = object();
            if (known < 0) {
                objects[cell] = table.put(hashes[cell], namespace, key(), shard());
            }
            return objects[cell];
        }

        private Hash256 key() {
            return Hash256.read(keys, cell / shards * Hash256.BYTES);
        }

        private Shard shard() {
            return parts.get(cell % shards);
        }

        @Override
        public ObjectId id() {
            return LookupCells.this.id(cell);
        }
    }

    /**
     * Begins to look; {@link #lookOn} does. Starts nothing.
     *
     * @param query sparse: looks at every key; else no further than a prefix can reach
     * @param asksOthers what other nodes might have counts as on its way; else as a miss, until it is known
     * @param keepsFound what is readable stays where it is until {@link #unhold}
     * @param onlyInMain second copies in other addressable tiers do not count
     */
    void begin(
            final SessionHolder newHolder,
            final LookupQuery query,
            final boolean asksOthers,
            final boolean keepsFound,
            final boolean onlyInMain,
            final long timeNs) {
        assert heldCount == 0 : "a lookup began before another one had ended";
        holder = newHolder;
        namespace = query.namespace();
        keys = query.keys();
        sparse = query.sparse();
        asks = asksOthers;
        keeps = keepsFound;
        onlyMain = onlyInMain;
        nowNs = timeNs;
        final ShardSet set = holder.shards();
        parts = set.shards();
        chunks = keys.length / Hash256.BYTES;
        shards = parts.size();
        looked = 0;
        probed = 0;
        limit = chunks;
        unknown = 0;
        removals = table.removals();
        for (int t = 0; t < tiers.size(); t++) {
            busyNs[tiers.get(t).kind().code()] = tiers.get(t).busyNs();
        }
        presence.reset(chunks, shards);
        final int cells = chunks * shards;
        if (entries.length < cells) {
            entries = new int[cells];
            hashes = new long[cells];
            objects = new int[cells];
            serials = new int[cells];
            held = new int[cells];
        }
        skip(query);
        for (int s = 0; s < shards && !set.rules().isEmpty(); s++) {
            if (set.rules().get(parts.get(s).kvGroup()) instanceof HitRule.TrailingWindow(int window)) {
                presence.window(s, window);
            }
        }
    }

    /** A sparse lookup that names shards looks at those alone. */
    private void skip(final LookupQuery query) {
        if (!query.sparse() || query.shardIndices().length == 0) {
            return;
        }
        for (int s = 0; s < shards; s++) {
            presence.skip(s);
        }
        for (final int asked : query.shardIndices()) {
            presence.ask(asked);
        }
    }

    /** Looks at about so many cells more; true when there are no more to look at. */
    boolean lookOn(final int cells) {
        final int end = (int) Math.min(chunks, looked + Math.max(1L, cells / shards));
        for (; looked < Math.min(end, limit); looked++) {
            if (looked == probed) {
                probe(end);
            }
            look(looked);
        }
        if (looked < limit) {
            return false;
        }
        looked = limit;
        return true;
    }

    private void look(final int chunk) {
        final Hash256 key = Hash256.read(keys, chunk * Hash256.BYTES);
        for (int s = 0; s < shards; s++) {
            final int cell = chunk * shards + s;
            if (presence.isSkipped(s)) {
                entries[cell] = AddressableTiers.NONE;
                continue;
            }
            final int object = table.confirm(objects[cell], hashes[cell], namespace, key, parts.get(s));
            final int entry = onlyMain ? slots.findMain(object) : slots.find(object);
            objects[cell] = object;
            entries[cell] = entry;
            byte where = Presence.ABSENT;
            if (entry != AddressableTiers.NONE) {
                where = present(cell);
            } else if (!tiers.isEmpty()) {
                where = below(at(cell));
                if (unknown == StoreLimits.ASKED_AT_ONCE && !sparse) {
                    // What lies behind is of no use before these are found.
                    limit = Math.min(limit, chunk + 1);
                }
            }
            presence.set(cell, where);
            if (where == Presence.ABSENT && presence.window(s) == 0 && !sparse) {
                limit = chunk;
            }
        }
    }

    /** Of an object that is not addressable. */
    private byte below(final ObjectRef object) {
        for (int t = 0; t < tiers.size(); t++) {
            final Tier tier = tiers.get(t);
            final Tier.Answer answer = tier.answer(object, nowNs);
            if (answer == Tier.Answer.PRESENT || (asks && answer != Tier.Answer.ABSENT)) {
                unknown += answer == Tier.Answer.UNKNOWN ? 1 : 0;
                return Presence.fetchable(tier.kind().code());
            }
        }
        return Presence.ABSENT;
    }

    /** Of a cell that is addressable. */
    private byte present(final int cell) {
        final int entry = entries[cell];
        serials[cell] = slots.serial(entry);
        if (slots.isCondemned(entry)) {
            return Presence.ABSENT;
        }
        if (!slots.isReadable(entry)) {
            return Presence.ARRIVING;
        }
        if (keeps) {
            slots.hold(entry);
            held[heldCount++] = entry;
        }
        return Presence.READABLE;
    }

    /**
     * Others have used the store since the cells were looked at: what went is absent, and what has arrived meanwhile is
     * readable. What was readable was kept.
     */
    void lookAgain() {
        for (int cell = 0; cell < seen(); cell++) {
            final int entry = entries[cell];
            if (entry == AddressableTiers.NONE || presence.get(cell) == Presence.ABSENT) {
                continue;
            }
            if (presence.get(cell) == Presence.READABLE) {
                if (!slots.isReadable(entry)) {
                    presence.set(cell, Presence.ABSENT);
                }
            } else if (!isStill(cell)) {
                entries[cell] = AddressableTiers.NONE;
                presence.set(cell, Presence.ABSENT);
            } else if (slots.isReadable(entry)) {
                presence.set(cell, present(cell));
            }
        }
    }

    /** Cells that a plan may ask about: with those of the gap's chunk. */
    private int seen() {
        return Math.min(chunks, looked + 1) * shards;
    }

    /** The cell's entry stands for its object still. */
    boolean isStill(final int cell) {
        return slots.is(entries[cell], serials[cell]);
    }

    /** The object of this cell is written to this entry from now on. */
    void arrives(final int cell, final int entry) {
        entries[cell] = entry;
        serials[cell] = slots.serial(entry);
    }

    /**
     * Hashes the next chunks and reads the index for them: many at once, so that the processor waits for many cache lines
     * at a time; not all, since a prefix mostly ends early.
     */
    private void probe(final int end) {
        final int from = probed;
        probed = Math.min(end, from + Math.max(1, PROBED_AT_ONCE / shards));
        for (int chunk = from; chunk < probed; chunk++) {
            final Hash256 key = Hash256.read(keys, chunk * Hash256.BYTES);
            for (int s = 0; s < shards; s++) {
                hashes[chunk * shards + s] = table.hash(namespace, key, parts.get(s));
            }
        }
        table.probe(hashes, objects, from * shards, probed * shards);
    }

    /** Keeps what was found where it is; what is being written stays anyway. */
    void hold() {
        for (int cell = 0; cell < seen(); cell++) {
            final byte where = presence.get(cell);
            final int entry = entries[cell];
            if ((where == Presence.READABLE || where == Presence.ARRIVING) && !slots.isWriting(entry)) {
                slots.hold(entry);
                held[heldCount++] = entry;
            }
        }
    }

    /** What was found readable and has left since is absent; true when there is any. In DRAM what is held does not leave. */
    boolean losesCondemned() {
        boolean any = false;
        for (int i = 0; i < (slots.isAlone() ? 0 : seen()); i++) {
            if (presence.get(i) == Presence.READABLE && !slots.isReadable(entries[i])) {
                presence.set(i, Presence.ABSENT);
                any = true;
            }
        }
        return any;
    }

    /** Lets go of about so many; true when there are no more. */
    boolean unhold(final int most) {
        for (int left = most; heldCount > 0 && left > 0; left--) {
            slots.unhold(held[--heldCount]);
        }
        return heldCount == 0;
    }

    /** Engines can copy all of the chunk now. */
    public boolean isReadable(final int chunk) {
        return presence.isReadable(chunk);
    }

    /** As {@link AddressableTiers} numbers it; its NONE when the cell's object is not addressable. */
    public int entry(final int cell) {
        return entries[cell];
    }

    public ObjectId id(final int cell) {
        return new ObjectId(namespace, Hash256.read(keys, cell / shards * Hash256.BYTES), parts.get(cell % shards));
    }

    // ---- costs

    @Override
    public long bytes(final int cell) {
        if (entries[cell] != AddressableTiers.NONE) {
            return leases.chargedBytes(holder.leases, entries[cell]);
        }
        final Tier tier = tierOf(cell);
        final long length = tier == null ? 0 : tier.bytes(at(cell));
        return length == 0 ? 0 : SizeClass.dramSlotBytes(length);
    }

    @Override
    public long newBytes(final int cell) {
        return entries[cell] == AddressableTiers.NONE ? bytes(cell) : leases.newlyChargedBytes(entries[cell]);
    }

    @Override
    public long queueNs(final int cell) {
        final Tier tier = tierOf(cell);
        return busyNs[tier.kind().code()] + tier.latencyNs(at(cell));
    }

    @Override
    public long transferNs(final int cell) {
        return tierOf(cell).transferNs(at(cell));
    }

    @Override
    public int origin(final int cell) {
        return slots.origin(entries[cell]).code();
    }

    /** From which the cell is fetched; null when it is not. */
    Tier tierOf(final int cell) {
        final byte where = presence.get(cell);
        return Presence.isFetchable(where) ? byCode[Presence.tier(where)] : null;
    }

    // ---- what tiers are asked

    @Override
    public boolean isOn(final TierKind tier, final int cell) {
        return presence.get(cell) == Presence.fetchable(tier.code());
    }

    @Override
    public ObjectRef at(final int cell) {
        ref.cell = cell;
        return ref;
    }

    @Override
    public Hash256 namespace() {
        return namespace;
    }

    @Override
    public byte[] keys() {
        return keys;
    }

    @Override
    public List<Shard> shards() {
        return parts;
    }

    @Override
    public int chunks() {
        return looked;
    }

    @Override
    public boolean sparse() {
        return sparse;
    }
}
