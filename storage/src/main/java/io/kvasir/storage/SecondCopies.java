package io.kvasir.storage;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.move.Move;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.SlotBytes;
import io.kvasir.storage.tier.dram.DramTier;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.function.IntConsumer;
import java.util.zip.CRC32C;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Second copies of objects, in an addressable tier above DRAM that does not outlive the node. What was leased from DRAM
 * more than once is copied there, verified on the way, in its turn in the {@link Mover}; a second copy leaves with the last one in
 * DRAM or on SSD, so that no engine is given bytes that another version may have replaced. Owned by {@link StoreAgent}.
 */
final class SecondCopies implements AutoCloseable {
    /** Leases of an object in DRAM from which on it is worth a second copy. */
    static final int USES = 2;

    private static final Logger LOG = LoggerFactory.getLogger(SecondCopies.class);
    private static final int PIECE = 64 << 10;
    private static final ThreadLocal<MemorySegment> BUFFER =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(PIECE, 64));

    private final ObjectTable table;
    private final DramTier dram;
    /** Null: there is no such tier, and nothing is done. */
    private final AddressableTier above;

    private final Mover mover;
    private final ExecutorService worker;
    private final Executor owner;
    private final IntConsumer verify;

    /**
     * @param worker copies; closed with this
     * @param owner runs what follows on the owner's thread
     * @param verify sums this entry of DRAM, and drops it when its bytes are wrong
     */
    SecondCopies(
            final ObjectTable table,
            final DramTier dram,
            final AddressableTier above,
            final Mover mover,
            final ExecutorService worker,
            final Executor owner,
            final IntConsumer verify) {
        this.table = table;
        this.dram = dram;
        this.above = above;
        this.mover = mover;
        this.worker = worker;
        this.owner = owner;
        this.verify = verify;
    }

    /** An object was leased from DRAM. */
    void used(final int entry) {
        if (above != null
                && dram.uses(entry) >= USES
                && isWanted(entry)
                && mover.takes(MoveKind.SECOND_COPY, MovePriority.BACKGROUND_STORE, dram.length(entry))) {
            dram.hold(entry);
            mover.submit(new Copy(entry));
        }
    }

    private boolean isWanted(final int entry) {
        return dram.isReadable(entry)
                && dram.isSummed(entry)
                && above.entry(dram.object(entry)) == AddressableTier.NONE;
    }

    private final class Copy extends Move {
        private final int entry;
        private int copy;
        private int crc32c;

        Copy(final int entry) {
            super(MoveKind.SECOND_COPY, MovePriority.BACKGROUND_STORE, dram.length(entry));
            this.entry = entry;
        }

        /** It takes its slot now, so that none waits empty. */
        @Override
        protected void start() {
            copy = isWanted(entry)
                    ? above.reserve(dram.tenant(dram.tenantName(entry)), dram.id(entry), bytes(), dram.codec(entry))
                    : AddressableTier.NONE;
            if (copy < 0) {
                mover.ended(this);
                dram.unhold(entry);
                return;
            }
            crc32c = dram.crc32c(entry);
            final SlotBytes from = dram.payload(entry, bytes());
            final SlotBytes to = above.payload(copy, bytes());
            worker.execute(() -> {
                final boolean isEqual = copy(from, to) == Integer.toUnsignedLong(crc32c);
                owner.execute(() -> copied(isEqual));
            });
        }

        private void copied(final boolean isEqual) {
            mover.ended(this);
            if (isEqual && dram.isReadable(entry)) {
                final Hash256 parent = dram.parent(entry);
                above.commit(copy, crc32c, parent, dram.chunkIndex(entry), dram.priority(entry), dram.expiry(entry));
            } else {
                above.abort(copy);
                if (!isEqual && !dram.isCondemned(entry) && !dram.inspect(entry)) {
                    verify.accept(entry);
                }
            }
            dram.unhold(entry);
        }

        @Override
        protected void dropped() {
            dram.unhold(entry);
        }
    }

    /** The sum of what was copied; -1: the bytes are gone. */
    private static long copy(final SlotBytes from, final SlotBytes to) {
        final CRC32C crc = new CRC32C();
        try {
            for (long at = 0; at < from.byteSize(); at += PIECE) {
                final MemorySegment piece = BUFFER.get().asSlice(0, Math.min(PIECE, from.byteSize() - at));
                from.read(at, piece);
                crc.update(piece.asByteBuffer());
                to.write(at, piece);
            }
        } catch (final PosixException gone) {
            LOG.debug("an object cannot be copied", gone);
            return -1;
        }
        return crc.getValue();
    }

    /** The object of this entry of the table left DRAM or SSD. */
    void left(final int object) {
        if (above == null || object == ObjectTable.NONE || isFirst(object)) {
            return;
        }
        final int copy = above.entry(object);
        if (copy != AddressableTier.NONE && !above.isWriting(copy) && !above.isCondemned(copy)) {
            above.dropOrCondemn(copy);
        }
    }

    /** Whether DRAM or SSD has it. */
    private boolean isFirst(final int object) {
        if (table.isIn(object, TierKind.SSD)) {
            return true;
        }
        final int entry = dram.entry(object);
        return entry != DramTier.NONE && !dram.isWriting(entry) && !dram.isCondemned(entry);
    }

    @Override
    public void close() {
        if (above != null) {
            worker.close();
        }
    }
}
