package io.kvasir.transport;

import java.util.ArrayDeque;

/**
 * One data stream to a peer and whose turn it is there. Loads first: a store gets one turn in {@link #STORE_SHARE} while
 * loads wait. Transfers of the same priority take turns of {@link #TURN_BYTES}.
 */
final class OutStream {
    static final int STORE_SHARE = 16;
    static final int TURN_BYTES = 256 << 10;

    final int index;
    final Wire.DataOut out;
    private final ArrayDeque<OutboundTransfer> loads = new ArrayDeque<>();
    private final ArrayDeque<OutboundTransfer> stores = new ArrayDeque<>();
    private int turns;
    private int turnLeft;
    private OutboundTransfer current;

    OutStream(final int index, final Wire.DataOut out) {
        this.index = index;
        this.out = out;
    }

    void add(final OutboundObject object) {
        final OutboundTransfer transfer = object.transfer;
        final ArrayDeque<OutboundObject> objects = transfer.sending.get(index);
        if (objects.isEmpty() && transfer != current) {
            queue(transfer).add(transfer);
        }
        objects.add(object);
    }

    /** The object whose slice goes next; null: nothing to send. */
    OutboundObject next() {
        while (true) {
            if (current != null) {
                final ArrayDeque<OutboundObject> objects = current.sending.get(index);
                dropEnded(objects);
                if (!objects.isEmpty() && turnLeft > 0) {
                    return objects.peek();
                }
                if (!objects.isEmpty()) {
                    queue(current).add(current);
                }
                current = null;
            }
            turns++;
            final boolean storesTurn = loads.isEmpty() || (turns % STORE_SHARE == 0 && !stores.isEmpty());
            current = storesTurn ? stores.poll() : loads.poll();
            if (current == null) {
                return null;
            }
            turnLeft = TURN_BYTES;
        }
    }

    void sent(final int bytes) {
        turnLeft -= bytes;
    }

    private static void dropEnded(final ArrayDeque<OutboundObject> objects) {
        while (!objects.isEmpty() && objects.peek().phase != OutboundObject.Phase.SENDING) {
            objects.poll();
        }
    }

    private ArrayDeque<OutboundTransfer> queue(final OutboundTransfer transfer) {
        return transfer.priority == Priority.LOAD ? loads : stores;
    }
}
