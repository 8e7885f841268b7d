package io.kvasir.node.engine;

import io.kvasir.storage.object.ShardSet;
import java.util.Map;

/**
 * Reads how many parts a request has before it is decoded: decoding allocates for each of them, whatever the call's
 * rules say of the number. Bytes that are no request are left to the decoder.
 */
final class Outline {
    /** Fields of a Request; the schema has four. */
    private static final int MOST_FIELDS = 64;

    private static final int MOST_PARTS = Check.MAX_ITEMS + MOST_FIELDS;
    private static final int MAX_ATTACH_BYTES = 1 << 20;

    private static final int ID = 1;
    private static final int FIRST_CALL = 10;
    private static final int BEHIND_CALLS = 64;
    private static final int ATTACH = 11;
    private static final int OPEN_NAMESPACE = 12;

    private static final int VARINT = 0;
    private static final int FIXED64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;

    /** A repeated field with a number for each entry. */
    private record Rule(String name, int most, boolean fixed64) {}

    /** By number of the call and of its field. */
    private static final Map<Integer, Rule> RULES = Map.of(
            key(13, 7), new Rule("shards", ShardSet.MAX_SHARDS, false),
            key(14, 2), new Rule("shards", ShardSet.MAX_SHARDS, false),
            key(15, 1), new Rule("leases", Check.MAX_ITEMS, true),
            key(16, 1), new Rule("leases", Check.MAX_ITEMS, true),
            key(16, 2), new Rule("shards", ShardSet.MAX_SHARDS, false),
            key(17, 4), new Rule("lengths", Check.MAX_ITEMS, false),
            key(18, 6), new Rule("chunk_index", Check.MAX_ITEMS, false));

    private final byte[] bytes;
    private final int limit;
    private int at;
    private boolean broken;
    private long id;

    private Outline(final byte[] bytes, final int offset, final int length) {
        this.bytes = bytes;
        at = offset;
        limit = offset + length;
    }

    /** A refusal of a request that has an id. */
    static final class RefusedException extends Exception {
        private static final long serialVersionUID = 1L;
        final long id;

        RefusedException(final long id, final String message) {
            super(message, null, false, false);
            this.id = id;
        }
    }

    /** Throws when a part has more entries than the schema allows. */
    static void check(final byte[] bytes, final int offset, final int length) throws RefusedException {
        if (length > MOST_FIELDS) {
            new Outline(bytes, offset, length).request();
        }
    }

    private static int key(final int call, final int field) {
        return call << 8 | field;
    }

    private void request() throws RefusedException {
        String refusal = null;
        boolean hasCall = false;
        for (int fields = 0; at < limit && !broken; fields++) {
            if (fields == MOST_FIELDS) {
                throw new RefusedException(id, "the request has more than " + MOST_FIELDS + " fields");
            }
            final long tag = varint();
            final long field = tag >>> 3;
            if (field == ID && (tag & 7) == VARINT) {
                id = varint();
            } else if (field >= FIRST_CALL && field < BEHIND_CALLS && (tag & 7) == BYTES) {
                final int end = end();
                if (!broken && refusal == null) {
                    refusal = hasCall ? "the request has more than one call" : call((int) field, end);
                }
                hasCall = true;
                at = end;
            } else {
                skip((int) (tag & 7));
            }
        }
        if (refusal != null && !broken) {
            throw new RefusedException(id, refusal);
        }
    }

    /** The reason to refuse the call; null when there is none. */
    private String call(final int call, final int end) {
        if (call == ATTACH && end - at > MAX_ATTACH_BYTES) {
            return "attach has " + (end - at) + " bytes; at most " + MAX_ATTACH_BYTES;
        }
        long entries = 0;
        for (int parts = 0; at < end && !broken; parts++) {
            if (parts == MOST_PARTS) {
                return "the call has more than " + MOST_PARTS + " parts; at most " + Check.MAX_ITEMS
                        + " entries in one request";
            }
            final long tag = varint();
            final int type = (int) (tag & 7);
            final Rule rule = tag >>> 3 > 0xff ? null : RULES.get(key(call, (int) (tag >>> 3)));
            if (rule != null && type == BYTES) {
                final int to = end();
                entries += rule.fixed64 ? (to - at) / Long.BYTES : varints(to);
                at = to;
            } else if (rule != null) {
                entries++;
                skip(type);
            } else if (call == OPEN_NAMESPACE && tag >>> 3 == 1 && type == BYTES) {
                final int to = end();
                if (to - at > JoinCalls.MAX_NAMESPACE_BYTES) {
                    return "namespace has " + (to - at) + " bytes; at most " + JoinCalls.MAX_NAMESPACE_BYTES;
                }
                at = to;
            } else {
                skip(type);
            }
            if (rule != null && entries > rule.most) {
                return rule.name + " has more than " + rule.most + " entries; send several requests";
            }
        }
        return null;
    }

    /** Varints up to there: each has one byte without the top bit. */
    private int varints(final int to) {
        int count = 0;
        for (int i = at; i < to; i++) {
            count += bytes[i] >= 0 ? 1 : 0;
        }
        return count;
    }

    private long varint() {
        long value = 0;
        for (int shift = 0; shift < Long.SIZE && at < limit; shift += 7) {
            final byte next = bytes[at++];
            value |= (long) (next & 0x7f) << shift;
            if (next >= 0) {
                return value;
            }
        }
        broken = true;
        return 0;
    }

    /** Where the bytes end whose length comes next. */
    private int end() {
        final long length = varint();
        if (length < 0 || length > limit - at) {
            broken = true;
            return limit;
        }
        return at + (int) length;
    }

    private void skip(final int type) {
        switch (type) {
            case VARINT -> varint();
            case FIXED64 -> at += Long.BYTES;
            case BYTES -> at = end();
            case FIXED32 -> at += Integer.BYTES;
            default -> broken = true;
        }
    }
}
