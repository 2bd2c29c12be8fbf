export * from "../abi/Hints.ts"
