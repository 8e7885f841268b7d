package io.kvasir.bench.suite;

import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.dram.Payload;
import io.kvasir.transport.ObjectName;
import io.kvasir.transport.ObjectSource;
import io.kvasir.transport.ObjectVersion;
import io.kvasir.transport.Priority;
import io.kvasir.transport.SourceAnswer;
import io.kvasir.transport.SourceObject;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;

/** Objects of one size and random bytes, held by the side that sends. */
final class LinkSource implements ObjectSource {
    private final List<Payload> objects = new ArrayList<>();
    private final List<ObjectVersion> versions = new ArrayList<>();

    LinkSource(final SharedBytes bytes, final int size) {
        final MemorySegment memory = bytes.mapped();
        for (long at = 0; at + size <= memory.byteSize(); at += size) {
            final MemorySegment object = memory.asSlice(at, size);
            final CRC32C crc = new CRC32C();
            crc.update(object.asByteBuffer());
            objects.add(bytes.payload().slice(at, size));
            versions.add(new ObjectVersion(size, (int) crc.getValue(), 0, 0, 0, 0, 0, 0, 0, 0));
        }
    }

    @Override
    public void open(final ObjectName name, final long deadlineNs, final Priority priority, final SourceAnswer answer) {
        final int index = (int) (name.key0() % objects.size());
        answer.ready(new SourceObject() {
            @Override
            public ObjectVersion version() {
                return versions.get(index);
            }

            @Override
            public void read(final long position, final MemorySegment into) {
                try {
                    objects.get(index).read(position, into);
                } catch (final PosixException e) {
                    throw new UncheckedIOException(e);
                }
            }

            @Override
            public boolean unchanged() {
                return true;
            }

            @Override
            public void release() {}
        });
    }

    @Override
    public void reportedCorrupt(final ObjectName name, final ObjectVersion version) {
        throw new IllegalStateException("a peer says that object " + name.key0() + " is corrupt");
    }
}
