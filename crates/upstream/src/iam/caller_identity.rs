//! Who a caller is, in the words of the caller's own STS: as `auth/aws` of Vault does it.
