package io.kvasir.storage;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.remote.OpenPeers;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.zip.CRC32C;

class RemoteContractTest extends TierContract {
    @Override
    protected TierUnderTest open(final long capacityBytes) {
        return new RemoteUnderTest(capacityBytes, new Elsewhere());
    }

    /** Another node, which answers and sends at once. */
    private static final class Elsewhere extends OpenPeers {
        private final Map<ObjectId, byte[]> objects = new HashMap<>();
        private StoreAgent store;

        @Override
        public void locate(
                final Hash256 namespace,
                final byte[] keys,
                final int from,
                final List<Shard> shards,
                final boolean sparse,
                final Finding finding) {
            for (int chunk = from; chunk < keys.length / Hash256.BYTES; chunk++) {
                for (int shard = 0; shard < shards.size(); shard++) {
                    final byte[] bytes = objects.get(
                            new ObjectId(namespace, Hash256.read(keys, chunk * Hash256.BYTES), shards.get(shard)));
                    if (bytes != null) {
                        finding.found(chunk, shard, () -> bytes.length);
                    }
                }
            }
            finding.done(true);
        }

        @Override
        public void pull(final Tenant tenant, final List<? extends Wanted> wanted) {
            wanted.forEach(one -> store.execute(() -> send(tenant, one)));
        }

        private void send(final Tenant tenant, final Wanted wanted) {
            final byte[] bytes = objects.get(wanted.id());
            if (bytes == null) {
                wanted.ended(false);
                return;
            }
            try (Arena arena = Arena.ofConfined()) {
                final MemorySegment copy = arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
                final StoredObject object = new StoredObject(bytes.length, crc32c(bytes), 0, Hash256.ZERO, 0, 0, 0);
                final Reception reception = store.peers().receive(tenant, wanted.id(), object, true, true);
                switch (reception.status()) {
                    case SlotStatus.NO_ROOM -> store.execute(() -> send(tenant, wanted));
                    case SlotStatus.GRANTED -> {
                        reception.slot().write(0, copy);
                        reception.slot().commit();
                        wanted.ended(true);
                    }
                    default -> wanted.ended(true);
                }
            }
        }

        private static int crc32c(final byte[] bytes) {
            final CRC32C crc = new CRC32C();
            crc.update(bytes);
            return (int) crc.getValue();
        }
    }

    /** What another node has, pulled anew each time that it is asked for. */
    private static final class RemoteUnderTest extends StoreUnderTest {
        private final Elsewhere elsewhere;

        RemoteUnderTest(final long capacity, final Elsewhere elsewhere) {
            super(capacity, context -> context.remote(elsewhere));
            this.elsewhere = elsewhere;
            elsewhere.store = fixture.store;
        }

        @Override
        public boolean put(final ObjectId id, final MemorySegment bytes) {
            elsewhere.objects.put(id, bytes.toArray(ValueLayout.JAVA_BYTE));
            return true;
        }

        @Override
        public Optional<byte[]> get(final ObjectId id) {
            super.remove(id);
            return super.get(id);
        }

        @Override
        public boolean remove(final ObjectId id) {
            super.remove(id);
            return elsewhere.objects.remove(id) != null;
        }

        @Override
        public boolean contains(final ObjectId id) {
            return elsewhere.objects.containsKey(id);
        }

        @Override
        public long objects() {
            return elsewhere.objects.size();
        }

        @Override
        public boolean isBounded() {
            return false;
        }

        @Override
        public void reopen() {
            super.reopen();
            elsewhere.store = fixture.store;
        }

        /** The link does, which is not here. */
        @Override
        public boolean findsDamage() {
            return false;
        }

        @Override
        public void damage(final ObjectId id) {}
    }
}
