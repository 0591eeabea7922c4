"""The store on disk: layout, manifests, immutable versions, opening."""
