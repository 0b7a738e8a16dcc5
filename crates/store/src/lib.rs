//! ChatSphere's store on SQLite and on PostgreSQL.
