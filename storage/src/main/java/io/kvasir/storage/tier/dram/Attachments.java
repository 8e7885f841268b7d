package io.kvasir.storage.tier.dram;

import io.kvasir.storage.lease.Reservation;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Attachment;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.function.Predicate;
import org.agrona.collections.Long2ObjectHashMap;

/**
 * Processes that may write: what each has reserved while its connection lives, and, once the connection is gone, what
 * is quarantined until the process is proved to have stopped. Owned by {@link DramTier}.
 */
public final class Attachments {
    /** One process's right to write, live or departed. */
    public static final class Entry implements Attachment {
        final long id;
        final TenantArena tenant;
        /**
         * What it may still write to: region in the high 32 bits, slot in the low 32. A slot without an entry is
         * quarantined.
         */
        final Long2ObjectHashMap<Reservation<Entry>> slots = new Long2ObjectHashMap<>();

        /** The quarantined ones included. */
        long reservedBytes;

        long quarantinedBytes;
        boolean departed;
        /** The lock was seen held: from now on a free lock means that the process has ended. */
        boolean confirmed;

        Region last;
        /** To which what it reserves next is added, unless that has its own; null: it has reserved nothing. */
        Reservation<Entry> latest;

        private final long secret;

        /** Of an earlier node, whose secret only its process knows. */
        Entry(final long id, final TenantArena tenant) {
            this(id, tenant, 0);
        }

        Entry(final long id, final TenantArena tenant, final long secret) {
            this.id = id;
            this.tenant = tenant;
            this.secret = secret;
        }

        @Override
        public long secret() {
            return secret;
        }

        @Override
        public long id() {
            return id;
        }

        @Override
        public Tenant tenant() {
            return tenant;
        }

        @Override
        public String lockFile() {
            return AttachmentLock.fileName(id);
        }

        public TenantArena arena() {
            return tenant;
        }

        /** True while some process holds the lock. */
        public boolean isHeld() {
            final Path lock = tenant.path.resolve(lockFile());
            // A file that somebody removed proves nothing of the process that had locked it.
            final boolean held = (confirmed && Files.notExists(lock)) || AttachmentLock.isHeld(lock);
            confirmed |= held;
            return held;
        }
    }

    /** Looking at a lock takes the owner 10 to 20 us. */
    private static final int PROBED_AT_ONCE = 32;

    private final Round liveRound = new Round();
    private final Round departedRound = new Round();
    private final Long2ObjectHashMap<Entry> live = new Long2ObjectHashMap<>();
    private final Long2ObjectHashMap<Entry> departed = new Long2ObjectHashMap<>();
    private long quarantinedBytes;

    static long place(final int region, final int slot) {
        return (long) region << 32 | slot;
    }

    /** The id that goes with a secret, also after a restart of the node; nobody finds the secret from it. */
    static long idOf(final long secret) {
        final byte[] bytes = ByteBuffer.allocate(Long.BYTES).putLong(secret).array();
        try {
            return ByteBuffer.wrap(MessageDigest.getInstance("SHA-256").digest(bytes))
                    .getLong();
        } catch (final NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has SHA-256", e);
        }
    }

    Entry open(final long secret, final TenantArena tenant) {
        final Entry entry = new Entry(idOf(secret), tenant, secret);
        live.put(entry.id, entry);
        return entry;
    }

    Entry live(final long id) {
        return live.get(id);
    }

    /** The connection is gone; the process may still copy. */
    void depart(final Entry entry) {
        live.remove(entry.id);
        entry.departed = true;
        quarantine(entry, entry.reservedBytes - entry.quarantinedBytes);
        departed.put(entry.id, entry);
    }

    /** Bytes of slots that it may still write to, though they are no object's any more; below 0: they are free again. */
    void quarantine(final Entry entry, final long bytes) {
        entry.quarantinedBytes += bytes;
        quarantinedBytes += bytes;
        entry.tenant.account.quarantined(bytes);
    }

    Entry departed(final long id) {
        return departed.get(id);
    }

    void forget(final Entry entry) {
        departed.remove(entry.id);
        quarantine(entry, -entry.quarantinedBytes);
        entry.reservedBytes = 0;
    }

    /** True while the process may still touch the arena: connected, or departed with its lock held. */
    boolean mayTouch(final long id) {
        return live.containsKey(id) || departed.containsKey(id);
    }

    /** Departed attachments whose lock is free. Looks at some in each call: engines decide how many there are. */
    List<Entry> stopped() {
        return departedRound.next(departed, entry -> departed.containsKey(entry.id) && !entry.isHeld());
    }

    /** Connected, but ended: a forked child may keep a dead process's socket open. Looks at some in each call. */
    List<Entry> endedBehindTheirSocket() {
        return liveRound.next(live, entry -> entry.confirmed && !entry.departed && !entry.isHeld());
    }

    /** Goes round attachments, a few in each call; who comes meanwhile has a turn in the next round. */
    private static final class Round {
        private Iterator<Entry> turn = List.<Entry>of().iterator();

        List<Entry> next(final Long2ObjectHashMap<Entry> all, final Predicate<Entry> wanted) {
            if (!turn.hasNext()) {
                turn = List.copyOf(all.values()).iterator();
            }
            final List<Entry> found = new ArrayList<>();
            for (int i = 0; i < PROBED_AT_ONCE && turn.hasNext(); i++) {
                final Entry entry = turn.next();
                if (wanted.test(entry)) {
                    found.add(entry);
                }
            }
            return found;
        }
    }

    long quarantinedBytes() {
        return quarantinedBytes;
    }
}
