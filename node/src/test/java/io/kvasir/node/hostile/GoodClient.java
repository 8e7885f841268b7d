package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.LookupResult;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Release;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.ReserveResult;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.SlotStatus;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * An engine that keeps every rule: it looks known objects up, loads them and compares all their bytes, stores new ones, and
 * holds each call to its deadline. That an object is missing or refused is an engine's everyday life and only counted; what
 * the engine API does not allow is a violation. Owned by one thread.
 */
public final class GoodClient implements AutoCloseable {
    private static final Set<Error.Code> ALLOWED =
            Set.of(Error.Code.RESOURCE_EXHAUSTED, Error.Code.DEADLINE_EXCEEDED, Error.Code.UNAVAILABLE);
    private static final int KNOWN = 8;
    private static final int KNOWN_BYTES = 16 << 10;
    private static final int FRESH_BYTES = 64 << 10;
    private static final int STEPS_PER_STORE = 25;
    private static final int STORE_WAIT_MS = 100;

    /** What is timed apart. A store waits for space, so its time says less about the node's other work. */
    public enum Kind {
        LOOKUP,
        PING,
        STORE
    }

    /** Hears what happened, on the client's thread. */
    public interface Observer {
        void answered(Kind kind, long ns);

        /** HIT, MISS, NO_ROOM, ...: nothing that the engine API forbids. */
        void counted(String what);

        void violated(String what);
    }

    private final Guest guest;
    private final Observer observer;
    private final int deadlineMs;
    private final ByteString known;
    private final Random random;
    private ByteString incarnation;
    private long step;

    /** An IOException says that the node did not take it in within the deadline, or refused. */
    public GoodClient(final Target target, final int deadlineMs, final long seed, final Observer observer)
            throws IOException {
        this.observer = observer;
        this.deadlineMs = deadlineMs;
        this.random = new Random(seed);
        this.known = Guest.keys(random, KNOWN);
        guest = Guest.attach(target, CreateSession.newBuilder().setName("good"), 1, "good");
    }

    public static Target target(final Path socket, final String token, final int deadlineMs) {
        return new Target(socket, token, System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(deadlineMs));
    }

    /** Hexadecimal; empty before the first answer. */
    public String incarnation() {
        final StringBuilder text = new StringBuilder();
        if (incarnation != null) {
            for (final byte each : incarnation) {
                text.append(String.format("%02x", each));
            }
        }
        return text.toString();
    }

    /** A lookup with its load and release, a ping, and now and then a store. An IOException ends the client. */
    public void step() throws IOException {
        ping();
        final int missing = load(known, KNOWN_BYTES);
        if (missing > 0) {
            store(known, KNOWN_BYTES);
        }
        if (step++ % STEPS_PER_STORE == 0) {
            final ByteString fresh = Guest.keys(random, 1);
            if (store(fresh, FRESH_BYTES)) {
                load(fresh, FRESH_BYTES);
            }
        }
    }

    private void ping() throws IOException {
        final ByteString payload = Guest.keys(random, 1);
        final Response response =
                call(Kind.PING, Request.newBuilder().setPing(Ping.newBuilder().setPayload(payload)));
        if (response != null && !response.getPing().getPayload().equals(payload)) {
            observer.violated("a ping was answered with another payload");
        }
    }

    /** Returns how many of the keys were no hits. */
    private int load(final ByteString keys, final int bytes) throws IOException {
        final int count = keys.size() / Guest.KEY_BYTES;
        final Response response = call(
                Kind.LOOKUP,
                Request.newBuilder()
                        .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys)));
        if (response == null) {
            return count;
        }
        final LookupResult found = response.getLookup();
        found.getRegionsList().forEach(region -> guest.regions.put(region.getRegion(), region));
        for (int i = 0; i < found.getHitChunks(); i++) {
            compare(keys.substring(i * Guest.KEY_BYTES, (i + 1) * Guest.KEY_BYTES), bytes, found, i);
        }
        if (found.getLease() != 0) {
            call(null, Request.newBuilder().setRelease(Release.newBuilder().addLeases(found.getLease())));
        }
        for (int i = found.getHitChunks(); i < count; i++) {
            observer.counted("MISS");
        }
        return count - found.getHitChunks() - found.getPendingChunks();
    }

    private void compare(final ByteString key, final int bytes, final LookupResult found, final int index)
            throws IOException {
        final byte[] read;
        try {
            read = Slots.read(guest.hello.getDirectory(), guest.regions, Slots.record(found.getSlots(), index));
        } catch (final IOException e) {
            observer.violated("a leased object could not be read: " + e.getMessage());
            return;
        }
        if (read == null) {
            observer.violated("a leased object was gone before it was released");
        } else if (Arrays.equals(read, payload(key, bytes))) {
            observer.counted("HIT");
        } else {
            observer.violated("wrong bytes");
        }
    }

    /** Whether any of it was committed. */
    private boolean store(final ByteString keys, final int bytes) throws IOException {
        final Response answer = call(
                Kind.STORE,
                Request.newBuilder()
                        .setReserve(Reserve.newBuilder()
                                .setNamespace(1)
                                .setKeys(keys)
                                .addLengths(bytes)
                                .setWaitMs(STORE_WAIT_MS)));
        if (answer == null) {
            return false;
        }
        final ReserveResult reserved = answer.getReserve();
        reserved.getRegionsList().forEach(region -> guest.regions.put(region.getRegion(), region));
        ByteString slots = ByteString.EMPTY;
        for (int i = 0; i < Slots.count(reserved.getSlots()); i++) {
            final ByteBuffer record = Slots.record(reserved.getSlots(), i);
            if (record.get(0) == SlotStatus.SLOT_GRANTED_VALUE) {
                final ByteString key = keys.substring(i * Guest.KEY_BYTES, (i + 1) * Guest.KEY_BYTES);
                Slots.write(guest.hello.getDirectory(), guest.regions, record, payload(key, bytes));
                slots = slots.concat(
                        reserved.getSlots().substring(i * Slots.RECORD_BYTES, (i + 1) * Slots.RECORD_BYTES));
            } else {
                observer.counted(SlotStatus.forNumber(record.get(0)).name());
            }
        }
        if (slots.isEmpty()) {
            return false;
        }
        final Response committed = call(
                Kind.STORE, Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)));
        if (committed == null) {
            return false;
        }
        for (final byte status : committed.getCommit().getStatuses()) {
            if (status == SlotStatus.SLOT_COMMITTED_VALUE) {
                observer.counted("COMMITTED");
            } else {
                observer.violated("a slot that was reserved is not committed: " + SlotStatus.forNumber(status));
            }
        }
        return true;
    }

    /** Null when the call was refused as the engine API allows. */
    private Response call(final Kind kind, final Request.Builder request) throws IOException {
        final String name = request.getCallCase().name();
        final long begin = System.nanoTime();
        final Response response =
                guest.wire.call(request.setDeadlineMs(deadlineMs), begin + TimeUnit.MILLISECONDS.toNanos(deadlineMs));
        if (response == null) {
            throw new IOException(name + " was not answered within its deadline of " + deadlineMs + " ms");
        }
        if (kind != null) {
            observer.answered(kind, System.nanoTime() - begin);
        }
        if (incarnation == null) {
            incarnation = response.getIncarnation();
        } else if (!incarnation.equals(response.getIncarnation())) {
            observer.violated("the node's incarnation has changed");
        }
        if (!response.hasError()) {
            return response;
        }
        final Error error = response.getError();
        if (ALLOWED.contains(error.getCode())) {
            observer.counted(error.getCode().name());
        } else {
            observer.violated(name + " was answered with " + error.getCode() + ": " + error.getMessage());
        }
        return null;
    }

    private static byte[] payload(final ByteString key, final int bytes) {
        final byte[] payload = new byte[bytes];
        new Random(key.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).getLong()).nextBytes(payload);
        return payload;
    }

    @Override
    public void close() throws IOException {
        guest.close();
    }
}
