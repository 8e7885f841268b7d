package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.ShrinkingMode;
import net.jqwik.api.constraints.Size;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/** Whatever arrives: an answer or the end of that connection, no internal error, and everybody else is served. */
class EngineFuzzTest {
    private static final Set<String> HELD_OR_STATEFUL = Set.of("hello", "attach", "cancel");
    private static NodeFixture fixture;
    private static EngineClient bystander;

    @BeforeContainer
    static void start() throws IOException {
        fixture = new NodeFixture("engine.max_frame=1MiB");
        bystander = fixture.attached();
    }

    @AfterContainer
    static void stop() throws IOException {
        bystander.close();
        fixture.close();
    }

    @Property(tries = 300, shrinking = ShrinkingMode.OFF)
    void randomBytes(@ForAll @Size(max = 2000) final byte[] bytes) throws IOException {
        try (EngineClient client = fixture.attached()) {
            client.write(withTheEnd(Math.max(1, bytes.length), bytes));
            client.expectEnd();
        }
        assertWell();
    }

    @Property(tries = 300, shrinking = ShrinkingMode.OFF)
    void randomMessages(@ForAll final long seed) throws IOException {
        final Random random = new Random(seed);
        try (EngineClient client = fixture.attached()) {
            for (int i = 0; i < 8; i++) {
                final Request request = randomRequest(random, i + 1);
                final byte[] body = request.toByteArray();
                client.write(EngineClient.frame(body.length, body));
                assertEquals(i + 1, client.read().getId(), request::toString);
            }
        }
        assertWell();
    }

    @Example
    void keptSeeds() throws IOException {
        int tried = 0;
        for (final String line : seeds()) {
            final int space = line.indexOf(' ');
            final long seed = Long.parseLong(line.substring(space + 1));
            switch (line.substring(0, space)) {
                case "messages" -> randomMessages(seed);
                case "flips" -> flippedBits(seed);
                default -> throw new AssertionError("fuzz-seeds.txt: " + line);
            }
            tried++;
        }
        assertTrue(tried > 0);
    }

    private static List<String> seeds() throws IOException {
        try (InputStream file = EngineFuzzTest.class.getResourceAsStream("fuzz-seeds.txt")) {
            return new String(file.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("#"))
                    .toList();
        }
    }

    @Property(tries = 300, shrinking = ShrinkingMode.OFF)
    void flippedBits(@ForAll final long seed) throws IOException {
        final Random random = new Random(seed);
        try (EngineClient client = fixture.attached()) {
            final byte[] body = randomRequest(random, 1).toByteArray();
            for (int flips = 1 + random.nextInt(8); flips > 0 && body.length > 0; flips--) {
                body[random.nextInt(body.length)] ^= (byte) (1 << random.nextInt(8));
            }
            client.write(withTheEnd(body.length, body));
            client.expectEnd();
        }
        assertWell();
    }

    /** In one write: the node may close at the first frame. */
    private static byte[] withTheEnd(final int length, final byte[] body) {
        final byte[] first = EngineClient.frame(length, body);
        return Arrays.copyOf(first, first.length + Integer.BYTES);
    }

    private static void assertWell() throws IOException {
        final Response response = bystander.call(
                Request.newBuilder().setPing(Ping.newBuilder().setPayload(ByteString.copyFromUtf8("x"))));
        assertEquals("x", response.getPing().getPayload().toStringUtf8());
        assertEquals(0, fixture.faults("internal"));
    }

    private static Request randomRequest(final Random random, final long id) {
        final List<FieldDescriptor> calls = Request.getDescriptor().getOneofs().getFirst().getFields().stream()
                .filter(field -> !HELD_OR_STATEFUL.contains(field.getName()))
                .toList();
        final FieldDescriptor call = calls.get(random.nextInt(calls.size()));
        final Request.Builder request = Request.newBuilder().setId(id).setDeadlineMs(1 + random.nextInt(20));
        return request.setField(call, fill(request.newBuilderForField(call), random, 0))
                .build();
    }

    private static Message fill(final Message.Builder builder, final Random random, final int depth) {
        for (final FieldDescriptor field : builder.getDescriptorForType().getFields()) {
            if (random.nextInt(3) == 0 || field.isMapField()) {
                continue;
            }
            final int count = field.isRepeated() ? random.nextInt(4) : 1;
            for (int i = 0; i < count; i++) {
                final Object value = field.getJavaType() == FieldDescriptor.JavaType.MESSAGE
                        ? fill(builder.newBuilderForField(field), random, depth + 1)
                        : scalar(field, random);
                if (field.isRepeated()) {
                    builder.addRepeatedField(field, value);
                } else {
                    builder.setField(field, value);
                }
            }
        }
        return builder.build();
    }

    private static Object scalar(final FieldDescriptor field, final Random random) {
        final int small = random.nextInt(3);
        return switch (field.getJavaType()) {
            case INT -> random.nextBoolean() ? small : random.nextInt();
            case LONG -> random.nextBoolean() ? (long) small : random.nextLong();
            case FLOAT -> Float.intBitsToFloat(random.nextInt());
            case DOUBLE -> random.nextDouble();
            case BOOLEAN -> random.nextBoolean();
            case STRING -> "x".repeat(random.nextInt(40));
            case BYTE_STRING -> bytes(random);
            case ENUM ->
                field.getEnumType()
                        .getValues()
                        .get(random.nextInt(field.getEnumType().getValues().size()));
            case MESSAGE -> throw new AssertionError(field);
        };
    }

    private static ByteString bytes(final Random random) {
        final byte[] bytes = new byte[random.nextInt(4) == 0 ? random.nextInt(200) : 32 * random.nextInt(6)];
        if (random.nextBoolean()) {
            random.nextBytes(bytes);
        }
        return ByteString.copyFrom(bytes);
    }
}
