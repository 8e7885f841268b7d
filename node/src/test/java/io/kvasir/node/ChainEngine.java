package io.kvasir.node;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.LookupResult;
import io.kvasir.node.engine.v1.Region;
import io.kvasir.node.engine.v1.Release;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.ReserveResult;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.SlotStatus;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * An engine for tests that stores chains of chunks and loads them: the bytes of a chunk follow from its key, so that every
 * byte that comes can be checked, wherever it was stored.
 */
public final class ChainEngine implements AutoCloseable {
    private static final int KEY = 32;
    private static final int RECORD = 32;
    private final EngineClient client;
    private final String directory;
    private final int objectBytes;
    private final Map<Integer, Region> regions = new HashMap<>();

    public ChainEngine(final Path socket, final int objectBytes, final String token) throws IOException {
        this.objectBytes = objectBytes;
        client = new EngineClient(socket);
        directory = client.hello(token).getDirectory();
        learn(client.create().getRegionsList());
        client.call(Request.newBuilder()
                .setOpenNamespace(
                        io.kvasir.node.engine.v1.OpenNamespace.newBuilder().setNamespace(EngineClient.NAMESPACE)));
    }

    /** Keys of a chain of its own for each seed. */
    public static ByteString chain(final long seed, final int chunks) {
        final byte[] keys = new byte[chunks * KEY];
        new Random(seed).nextBytes(keys);
        return ByteString.copyFrom(keys);
    }

    private static byte[] payload(final ByteString key, final int bytes) {
        final byte[] payload = new byte[bytes];
        new Random(key.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).getLong()).nextBytes(payload);
        return payload;
    }

    public ByteString key(final ByteString chain, final int chunk) {
        return chain.substring(chunk * KEY, (chunk + 1) * KEY);
    }

    /** Stores the chunks of a chain; returns how many were granted. */
    public int store(final ByteString chain) throws IOException {
        return store(chain, true);
    }

    /** @param indexed whether the node is told each chunk's place in the chain; else its parent only */
    public int store(final ByteString chain, final boolean indexed) throws IOException {
        final int chunks = chain.size() / KEY;
        final ReserveResult reserved = client.call(Request.newBuilder()
                        .setDeadlineMs(20_000)
                        .setReserve(Reserve.newBuilder()
                                .setNamespace(1)
                                .setKeys(chain)
                                .addLengths(objectBytes)
                                .setWaitMs(10_000)))
                .getReserve();
        learn(reserved.getRegionsList());
        final Commit.Builder commit = Commit.newBuilder();
        ByteString slots = ByteString.EMPTY;
        ByteString parents = ByteString.EMPTY;
        int granted = 0;
        for (int i = 0; i < chunks; i++) {
            final ByteBuffer record = record(reserved.getSlots(), i);
            if (record.get(0) == SlotStatus.SLOT_GRANTED_VALUE) {
                write(record, payload(key(chain, i), objectBytes));
                slots = slots.concat(reserved.getSlots().substring(i * RECORD, (i + 1) * RECORD));
                parents = parents.concat(i == 0 ? ByteString.copyFrom(new byte[KEY]) : key(chain, i - 1));
                if (indexed) {
                    commit.addChunkIndex(i);
                }
                granted++;
            }
        }
        client.call(Request.newBuilder().setCommit(commit.setSlots(slots).setParents(parents)));
        return granted;
    }

    public Response call(final Request.Builder request) throws IOException {
        return client.call(request);
    }

    public LookupResult lookup(final ByteString chain, final int waitMs) throws IOException {
        final LookupResult result = client.call(Request.newBuilder()
                        .setDeadlineMs(waitMs + 1000)
                        .setLookup(Lookup.newBuilder()
                                .setNamespace(1)
                                .setKeys(chain)
                                .setWaitMs(waitMs)))
                .getLookup();
        learn(result.getRegionsList());
        return result;
    }

    /** Looks up, checks every byte of what is a hit, gives the lease back; returns the hits. */
    public int load(final ByteString chain, final int waitMs) throws IOException {
        final LookupResult found = lookup(chain, waitMs);
        for (int i = 0; i < found.getHitChunks(); i++) {
            final byte[] read = read(record(found.getSlots(), i));
            if (!Arrays.equals(payload(key(chain, i), objectBytes), read)) {
                throw new AssertionError("chunk " + i + " has wrong bytes");
            }
        }
        if (found.getLease() != 0) {
            client.call(Request.newBuilder().setRelease(Release.newBuilder().addLeases(found.getLease())));
        }
        return found.getHitChunks();
    }

    private void learn(final List<Region> more) {
        more.forEach(region -> regions.put(region.getRegion(), region));
    }

    private static ByteBuffer record(final ByteString slots, final int i) {
        return slots.substring(i * RECORD, (i + 1) * RECORD)
                .asReadOnlyByteBuffer()
                .slice()
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    private void write(final ByteBuffer record, final byte[] bytes) throws IOException {
        try (FileChannel file = open(record, StandardOpenOption.WRITE)) {
            file.write(ByteBuffer.wrap(bytes), at(record));
        }
    }

    private byte[] read(final ByteBuffer record) throws IOException {
        final byte[] bytes = new byte[(int) record.getLong(24)];
        try (FileChannel file = open(record, StandardOpenOption.READ)) {
            file.read(ByteBuffer.wrap(bytes), at(record));
        }
        return bytes;
    }

    private FileChannel open(final ByteBuffer record, final StandardOpenOption how) throws IOException {
        return FileChannel.open(Path.of(directory, regions.get(record.getInt(4)).getDataFile()), how);
    }

    private long at(final ByteBuffer record) {
        return record.getInt(8) * regions.get(record.getInt(4)).getSlotBytes();
    }

    /** Overwrites a byte of a stored chunk behind everybody's back. */
    public void damage(final ByteString chain, final int chunk) throws IOException {
        final LookupResult found = lookup(chain, 0);
        final ByteBuffer record = record(found.getSlots(), chunk);
        try (FileChannel file = open(record, StandardOpenOption.WRITE)) {
            file.write(ByteBuffer.wrap(new byte[] {1, 2, 3, 4, 5, 6, 7, 8}), at(record) + 100);
        }
        client.call(Request.newBuilder().setRelease(Release.newBuilder().addLeases(found.getLease())));
    }

    @Override
    public void close() throws IOException {
        client.close();
    }
}
