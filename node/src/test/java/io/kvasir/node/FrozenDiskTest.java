package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.Pin;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.Response;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The SSD tier's file system, a real one, takes no write for as long as a test likes; engines are answered all the same. */
@Timeout(120)
class FrozenDiskTest {
    private static final long SLOT = 512 * 1024;

    private static boolean run(final String... command) throws IOException {
        final Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        try {
            return process.waitFor(20, TimeUnit.SECONDS) && process.exitValue() == 0;
        } catch (final InterruptedException stopped) {
            throw new AssertionError(stopped);
        }
    }

    @Test
    void enginesAreAnsweredWhileTheDiskTakesNothing() throws IOException {
        final Path image = Files.createTempFile("kvasir-frozen-", ".img");
        final Path mount = Files.createTempDirectory("kvasir-frozen-");
        try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
            file.setLength(512 << 20);
        }
        boolean mounted = false;
        try {
            try {
                mounted = run("mkfs.ext4", "-q", image.toString())
                        && run("mount", "-o", "loop", image.toString(), mount.toString());
            } catch (final IOException missing) {
                Assumptions.abort("needs mkfs.ext4 and mount: " + missing);
            }
            Assumptions.assumeTrue(
                    mounted && freeze(mount) && unfreeze(mount), "needs a loop device, and to freeze its file system");
            try (NodeFixture fixture = new NodeFixture(
                    "dram.capacity=16MiB",
                    "ssd.directory=" + mount.resolve("ssd"),
                    "ssd.capacity=128MiB",
                    "ssd.extent=16MiB",
                    "node.shutdown_limit=30s")) {
                serveWhileFrozen(fixture, mount);
            }
        } finally {
            if (mounted) {
                unfreeze(mount);
                run("umount", mount.toString());
            }
            Files.delete(mount);
            Files.delete(image);
        }
    }

    private static boolean freeze(final Path mount) throws IOException {
        return run("fsfreeze", "--freeze", mount.toString());
    }

    private static boolean unfreeze(final Path mount) throws IOException {
        return run("fsfreeze", "--unfreeze", mount.toString());
    }

    private static void serveWhileFrozen(final NodeFixture fixture, final Path mount) throws IOException {
        try (EngineClient engine = fixture.attached()) {
            store(engine, 0);
            NodeFixture.await("a pin is kept", () -> pinned(engine));
            assertTrue(freeze(mount));
            try {
                final Namespace another = Namespace.newBuilder()
                        .setModel("another")
                        .setChunkTokens(256)
                        .build();
                final Response opened = engine.call(Request.newBuilder()
                        .setOpenNamespace(OpenNamespace.newBuilder().setNamespace(another)));
                assertEquals(2, opened.getOpenNamespace().getHandle());
                assertEquals(
                        Error.Code.DEADLINE_EXCEEDED, pin(engine).getError().getCode());
                // More than DRAM has: what is evicted is for the catalog's history.
                for (int number = 1; number < 64; number++) {
                    store(engine, number);
                }
                final ByteString here = ByteString.copyFromUtf8("here");
                assertEquals(
                        here,
                        engine.call(Request.newBuilder()
                                        .setPing(Ping.newBuilder().setPayload(here)))
                                .getPing()
                                .getPayload());
            } finally {
                assertTrue(unfreeze(mount));
            }
            NodeFixture.await("the pin is kept", () -> pinned(engine));
        }
    }

    private static ByteString key(final int number) {
        final byte[] key = new byte[32];
        key[0] = (byte) number;
        key[31] = 1;
        return ByteString.copyFrom(key);
    }

    private static boolean pinned(final EngineClient engine) {
        try {
            return pin(engine).getPin().getPinned() == 1;
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
    }

    private static Response pin(final EngineClient engine) throws IOException {
        return engine.call(Request.newBuilder()
                .setDeadlineMs(300)
                .setPin(Pin.newBuilder().setNamespace(1).setKeys(key(0)).setTtlMs(3_600_000)));
    }

    /** Reserves, and commits what was granted; the bytes do not matter here. */
    private static void store(final EngineClient engine, final int number) throws IOException {
        final Response reserved = engine.call(Request.newBuilder()
                .setDeadlineMs(300)
                .setReserve(Reserve.newBuilder()
                        .setNamespace(1)
                        .setKeys(key(number))
                        .addLengths(SLOT)
                        .setWaitMs(200)));
        assertTrue(reserved.hasReserve(), reserved.toString());
        engine.call(Request.newBuilder()
                .setCommit(Commit.newBuilder().setSlots(reserved.getReserve().getSlots())));
    }
}
