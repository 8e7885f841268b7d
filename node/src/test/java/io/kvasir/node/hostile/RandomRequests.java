package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import io.kvasir.node.engine.v1.Request;
import java.util.List;
import java.util.Random;

/** Any call of the schema, each field absent, at an edge, or random. */
final class RandomRequests {
    private static final long[] EDGES = {
        0, 1, 2, 31, 32, 255, 256, 65_535, 65_536, Integer.MAX_VALUE, Long.MAX_VALUE, -1
    };

    private RandomRequests() {}

    static Request draw(final Random random, final long id) {
        final List<FieldDescriptor> calls =
                Request.getDescriptor().getOneofs().getFirst().getFields();
        final FieldDescriptor call = calls.get(random.nextInt(calls.size()));
        final Request.Builder request = Request.newBuilder().setId(id).setDeadlineMs(random.nextInt(500));
        return request.setField(call, fill(request.newBuilderForField(call), random))
                .build();
    }

    private static Message fill(final Message.Builder builder, final Random random) {
        for (final FieldDescriptor field : builder.getDescriptorForType().getFields()) {
            if (random.nextInt(3) == 0 || field.isMapField()) {
                continue;
            }
            final int count = field.isRepeated() ? random.nextInt(6) : 1;
            for (int i = 0; i < count; i++) {
                final Object value = field.getJavaType() == FieldDescriptor.JavaType.MESSAGE
                        ? fill(builder.newBuilderForField(field), random)
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
        final long number = random.nextInt(3) == 0 ? random.nextLong() : EDGES[random.nextInt(EDGES.length)];
        return switch (field.getJavaType()) {
            case INT -> (int) number;
            case LONG -> number;
            case FLOAT -> Float.intBitsToFloat(random.nextInt());
            case DOUBLE -> random.nextDouble();
            case BOOLEAN -> random.nextBoolean();
            case STRING -> "x\n".repeat(random.nextInt(40));
            case BYTE_STRING -> bytes(random);
            case ENUM ->
                field.getEnumType()
                        .getValues()
                        .get(random.nextInt(field.getEnumType().getValues().size()));
            case MESSAGE -> throw new IllegalStateException(field.getFullName());
        };
    }

    private static ByteString bytes(final Random random) {
        final byte[] bytes = new byte[random.nextInt(4) == 0 ? random.nextInt(200) : 32 * random.nextInt(64)];
        if (random.nextBoolean()) {
            random.nextBytes(bytes);
        }
        return ByteString.copyFrom(bytes);
    }
}
