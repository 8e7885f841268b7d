package io.kvasir.node.engine;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import io.kvasir.node.engine.v1.Attach;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Shard;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Collections;
import java.util.Random;
import org.junit.jupiter.api.Test;

class OutlineTest {
    @Test
    void theLongestLegalRequestsPass() {
        final Commit commit = Commit.newBuilder()
                .setSlots(ByteString.copyFrom(new byte[65_536 * 32]))
                .setParents(ByteString.copyFrom(new byte[65_536 * 32]))
                .addAllChunkIndex(Collections.nCopies(65_536, 1 << 20))
                .build();
        passes(Request.newBuilder().setId(1).setCommit(commit).build());
        final CreateSession.Builder create = CreateSession.newBuilder();
        for (int i = 0; i < 4096; i++) {
            create.addShards(Shard.newBuilder()
                    .setLayerBegin(i)
                    .setLayerEnd(65_535)
                    .setHeadEnd(65_535)
                    .setKvGroup(65_535)
                    .setCpSize(65_535));
        }
        passes(Request.newBuilder()
                .setId(1)
                .setAttach(Attach.newBuilder().setCreate(create))
                .build());
        passes(Request.newBuilder()
                .setId(1)
                .setLookup(Lookup.newBuilder().addAllShards(Collections.nCopies(4096, 4095)))
                .build());
    }

    @Test
    void entriesThatAreNotPackedCountToo() throws IOException {
        final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        final CodedOutputStream renew = CodedOutputStream.newInstance(bytes);
        for (int i = 0; i < 70_000; i++) {
            renew.writeFixed64(1, i);
        }
        renew.flush();
        refused("leases", request(15, bytes.toByteArray()));
    }

    @Test
    void fieldsWithoutEndAreRefused() throws IOException {
        final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        final CodedOutputStream fields = CodedOutputStream.newInstance(bytes);
        for (int i = 0; i < 100_000; i++) {
            fields.writeUInt32(99, 1);
        }
        fields.flush();
        refused("parts", request(24, bytes.toByteArray()));
        refused("fields", bytes.toByteArray());
    }

    @Test
    void anythingElseIsLeftToTheDecoder() {
        final Random random = new Random(3);
        for (int i = 0; i < 20_000; i++) {
            final byte[] bytes = new byte[64 + random.nextInt(400)];
            random.nextBytes(bytes);
            try {
                Outline.check(bytes, 0, bytes.length);
            } catch (final Outline.RefusedException refused) {
                assertTrue(refused.getMessage().contains("at most")
                        || refused.getMessage().contains("more than"));
            }
        }
    }

    private static byte[] request(final int call, final byte[] body) throws IOException {
        final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        final CodedOutputStream request = CodedOutputStream.newInstance(bytes);
        request.writeUInt64(1, 7);
        request.writeByteArray(call, body);
        request.flush();
        return bytes.toByteArray();
    }

    private static void passes(final Request request) {
        final byte[] bytes = request.toByteArray();
        assertDoesNotThrow(() -> Outline.check(bytes, 0, bytes.length));
    }

    private static void refused(final String what, final byte[] bytes) {
        final Outline.RefusedException refused =
                assertThrows(Outline.RefusedException.class, () -> Outline.check(bytes, 0, bytes.length));
        assertTrue(refused.getMessage().contains(what), refused::getMessage);
        assertEquals(what.equals("fields") ? 0 : 7, refused.id);
    }
}
