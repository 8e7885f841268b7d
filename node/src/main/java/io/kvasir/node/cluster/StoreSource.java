package io.kvasir.node.cluster;

import io.kvasir.storage.Lent;
import io.kvasir.storage.PeerStore;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.transport.ObjectName;
import io.kvasir.transport.ObjectSource;
import io.kvasir.transport.ObjectVersion;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.Priority;
import io.kvasir.transport.SourceAnswer;
import io.kvasir.transport.SourceObject;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Gives the peer link what this node's store has. On the link's thread; the store's thread does the work. */
final class StoreSource implements ObjectSource {
    private static final Logger LOG = LoggerFactory.getLogger(StoreSource.class);

    private record Asked(ObjectId id, long deadlineNs, Priority priority, SourceAnswer answer) {}

    private final PeerStore store;
    private final AtomicLong lentBytes = new AtomicLong();
    private List<Asked> asked = new ArrayList<>();

    StoreSource(final PeerStore store) {
        this.store = store;
    }

    /** Of objects that the link holds to send them; any thread. */
    long lentBytes() {
        return lentBytes.get();
    }

    @Override
    public void open(final ObjectName name, final long deadlineNs, final Priority priority, final SourceAnswer answer) {
        final ObjectId id = Names.id(name);
        if (id == null) {
            answer.refuse(Outcome.MISSING);
        } else {
            asked.add(new Asked(id, deadlineNs, priority, answer));
        }
    }

    @Override
    public void flush() {
        if (!asked.isEmpty()) {
            final List<Asked> batch = asked;
            asked = new ArrayList<>();
            store.execute(() -> {
                for (final Asked each : batch) {
                    store.lend(each.id, priority(each.priority), each.deadlineNs, lent -> answer(each.answer, lent));
                }
                // What moves or spreads is not used by that.
                store.usedElsewhere(batch.stream()
                        .filter(each -> each.priority == Priority.LOAD)
                        .map(Asked::id)
                        .toList());
            });
        }
    }

    /** A copy that nobody waits for comes from SSD behind what lookups want. */
    private static MovePriority priority(final Priority transfer) {
        return transfer == Priority.LOAD ? MovePriority.LOAD : MovePriority.BACKGROUND_LOAD;
    }

    private void answer(final SourceAnswer answer, final Lent lent) {
        if (lent == null) {
            answer.refuse(Outcome.MISSING);
        } else {
            lentBytes.addAndGet(lent.object().length());
            answer.ready(new LentObject(lent, Names.version(lent.object())));
        }
    }

    private final class LentObject implements SourceObject {
        private final Lent lent;
        private final ObjectVersion version;

        LentObject(final Lent lent, final ObjectVersion version) {
            this.lent = lent;
            this.version = version;
        }

        @Override
        public ObjectVersion version() {
            return version;
        }

        @Override
        public void read(final long position, final MemorySegment into) {
            lent.read(position, into);
        }

        @Override
        public boolean unchanged() {
            return lent.isUnchanged();
        }

        @Override
        public void release() {
            lentBytes.addAndGet(-lent.object().length());
            lent.giveBack();
        }
    }

    @Override
    public void reportedCorrupt(final ObjectName name, final ObjectVersion version) {
        final ObjectId id = Names.id(name);
        if (id != null) {
            LOG.warn("A peer got bytes of {} that do not fit its checksum; it is summed anew", id);
            store.execute(() -> store.suspect(id));
        }
    }
}
