/** Moved: see `test/support/arbitrary/BtfOdd.ts`. */
export * from "../../support/arbitrary/BtfOdd.ts"
