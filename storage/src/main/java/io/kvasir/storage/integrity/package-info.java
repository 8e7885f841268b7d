/** Checksums of payload: made and compared beside the calls, on a thread of their own. */
package io.kvasir.storage.integrity;
