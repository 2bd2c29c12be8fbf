/**
 * The package's version.
 */
import manifest from "effect-bpf/package.json" with { type: "json" }

/** As in package.json. */
export const version: string = manifest.version
