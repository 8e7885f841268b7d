/** How people run a node: the command line, metrics and health over HTTP, the doctor. */
package io.kvasir.ops;
