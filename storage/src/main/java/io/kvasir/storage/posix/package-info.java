/** System calls, and directories and locks that this process alone may have. */
package io.kvasir.storage.posix;
