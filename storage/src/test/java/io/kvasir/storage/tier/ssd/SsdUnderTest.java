package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.TierUnderTest;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** An SSD tier behind calls that wait. */
final class SsdUnderTest implements TierUnderTest {
    private final Path directory;
    private final long capacityBytes;
    private final UnaryOperator<SsdTier.Context> settings;
    private final MemorySegment destination;
    SsdTier tier;

    SsdUnderTest(final Path directory, final long capacityBytes, final UnaryOperator<SsdTier.Context> settings) {
        this.directory = directory;
        this.capacityBytes = capacityBytes;
        this.settings = settings;
        this.destination = Arena.ofAuto().allocate(Math.min(capacityBytes, 128L << 20), SizeClass.PAGE);
        openTier();
    }

    void openTier() {
        tier = SsdTier.open(
                settings.apply(new SsdTier.Context().directory(directory).capacityBytes(capacityBytes)));
        if (!tier.awaitWarm(30_000_000_000L)) {
            throw new AssertionError(tier.describe());
        }
    }

    static <T> T join(final CompletableFuture<T> future) {
        return future.orTimeout(30, TimeUnit.SECONDS).join();
    }

    WriteOutcome write(final ObjectId id, final MemorySegment bytes, final Hash256 parent) {
        final long length = bytes.byteSize();
        try (Arena arena = Arena.ofShared()) {
            final MemorySegment pages = arena.allocate(SizeClass.pageBytes(length), SizeClass.PAGE);
            MemorySegment.copy(bytes, 0, pages, 0, length);
            final CompletableFuture<WriteOutcome> outcome = new CompletableFuture<>();
            tier.write(new WriteRequest(
                    id,
                    pages,
                    new StoredObject(length, SlotHeader.checksum(pages.asSlice(0, length)), 0, parent, 0, 0, 0),
                    outcome::complete));
            return join(outcome);
        }
    }

    ReadOutcome read(final ObjectId id, final MemorySegment destination) {
        final CompletableFuture<ReadOutcome> outcome = new CompletableFuture<>();
        tier.read(new ReadRequest(id, destination, outcome::complete));
        return join(outcome);
    }

    @Override
    public boolean put(final ObjectId id, final MemorySegment bytes) {
        return write(id, bytes, Hash256.ZERO).isStored();
    }

    @Override
    public Optional<byte[]> get(final ObjectId id) {
        return read(id, destination) instanceof ReadOutcome.Loaded loaded
                ? Optional.of(destination.asSlice(0, loaded.object().length()).toArray(ValueLayout.JAVA_BYTE))
                : Optional.empty();
    }

    @Override
    public boolean remove(final ObjectId id) {
        final CompletableFuture<WriteOutcome> outcome = new CompletableFuture<>();
        tier.remove(id, outcome::complete);
        return join(outcome).status() == WriteOutcome.Status.REMOVED;
    }

    @Override
    public boolean contains(final ObjectId id) {
        return tier.contains(id);
    }

    @Override
    public long objects() {
        return tier.objects();
    }

    @Override
    public long allocatedBytes() {
        final long[] onDisk = new long[1];
        extents().forEach(file -> onDisk[0] += file.toFile().length());
        return Math.max(onDisk[0], tier.allocatedBytes());
    }

    List<Path> extents() {
        try (Stream<Path> files = Files.list(directory.resolve("extents"))) {
            return new ArrayList<>(files.toList());
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
    }

    @Override
    public long capacityBytes() {
        return tier.capacityBytes();
    }

    @Override
    public void reopen() {
        close();
        openTier();
    }

    /** Finds the payload by its first page, wherever it is. */
    @Override
    public void damage(final ObjectId id) {
        final byte[] stored = get(id).orElseThrow();
        final int compared = (int) Math.min(stored.length, SizeClass.PAGE);
        for (final Path extent : extents()) {
            try (RandomAccessFile file = new RandomAccessFile(extent.toFile(), "rw")) {
                final byte[] page = new byte[compared];
                for (long at = 0; at + compared <= file.length(); at += SizeClass.PAGE) {
                    file.seek(at);
                    file.readFully(page);
                    if (java.util.Arrays.equals(page, 0, compared, stored, 0, compared)) {
                        file.seek(at + compared / 2);
                        file.write(page[compared / 2] ^ 1);
                        file.getFD().sync();
                        return;
                    }
                }
            } catch (final IOException e) {
                throw new AssertionError(e);
            }
        }
        throw new AssertionError("the payload is in no extent");
    }

    @Override
    public void close() {
        if (!tier.close(30_000_000_000L)) {
            throw new AssertionError("the tier did not close: " + tier.describe());
        }
    }
}
