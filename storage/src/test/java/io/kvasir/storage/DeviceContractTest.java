package io.kvasir.storage;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.TierKind;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

class DeviceContractTest extends TierContract {
    @Override
    protected TierUnderTest open(final long capacityBytes) {
        return new DeviceUnderTest(capacityBytes);
    }

    /** A tier above a DRAM of twice its size, in which an object is from its second lease on. */
    private static final class DeviceUnderTest extends StoreUnderTest {
        private static final long COPIED_NS = TimeUnit.SECONDS.toNanos(5);
        private final long deviceCapacity;
        private final FakeDeviceTier[] newest;

        DeviceUnderTest(final long capacity) {
            this(capacity, new FakeDeviceTier[1]);
        }

        private DeviceUnderTest(final long capacity, final FakeDeviceTier[] opened) {
            super(
                    2 * capacity,
                    context -> context.device((table, listener) -> {
                        opened[0] = new FakeDeviceTier(table, listener, context.clock(), capacity);
                        return opened[0];
                    }));
            deviceCapacity = capacity;
            newest = opened;
        }

        private FakeDeviceTier device() {
            return newest[0];
        }

        private void untilIdle() {
            fixture.until(
                    "idle",
                    () -> fixture.store.doWork() == 0 && fixture.store.admin().heldObjects() == 0);
        }

        @Override
        public boolean put(final ObjectId id, final MemorySegment bytes) {
            if (!super.put(id, bytes)) {
                return false;
            }
            // Only what is summed is copied, and not at once.
            final long end = System.nanoTime() + COPIED_NS;
            while (!contains(id) && System.nanoTime() - end < 0) {
                fixture.store.engines().release(holder, lookup(id.key()).lease(), new int[0]);
                untilIdle();
            }
            return contains(id);
        }

        @Override
        public Optional<byte[]> get(final ObjectId id) {
            if (!contains(id)) {
                return Optional.empty();
            }
            final LookupAnswer found = lookup(id.key());
            if (found.slots()[SlotRecord.TIER] != TierKind.DEVICE.code()) {
                throw new AssertionError("a hit of another tier: " + found.slots()[SlotRecord.TIER]);
            }
            fixture.store.engines().release(holder, found.lease(), new int[0]);
            return super.get(id);
        }

        @Override
        public boolean contains(final ObjectId id) {
            return device().has(id);
        }

        @Override
        public long objects() {
            device().check();
            return device().objects();
        }

        @Override
        public long allocatedBytes() {
            return device().regionBytes();
        }

        @Override
        public long capacityBytes() {
            return deviceCapacity;
        }

        @Override
        public boolean survives() {
            return false;
        }

        /** Bytes are verified when they are copied there, and no more. */
        @Override
        public boolean findsDamage() {
            return false;
        }

        @Override
        public void damage(final ObjectId id) {}
    }
}
