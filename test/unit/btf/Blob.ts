/** Moved: see `test/support/arbitrary/BtfBlob.ts`. */
export * from "../../support/arbitrary/BtfBlob.ts"
